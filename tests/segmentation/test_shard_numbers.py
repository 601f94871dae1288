"""Images without masks are segmented in any setting; numbers that are none name their image."""

import numpy as np
import pytest
import torch

from geoloc.pytorch.device import AdaptiveBatches
from geoloc.pytorch.finite import NotFinite
from geoloc.segmentation.classifiers import build_classifier
from geoloc.segmentation.segmenters.sam import postprocess, postprocess_gpu
from geoloc.segmentation.segmenters.sam.generator import SamSegmenter
from geoloc.segmentation.segmenters.sam.postprocess import Thresholds
from geoloc.segmentation.shard import segment_shard
from geoloc.stores import read_segments
from tests.segmentation.test_shard import classifier, encoded, write_shard  # noqa: F401  a fixture
from tests.small_sam import EVERYTHING, picture, random_sam

CROPS = [
    {},
    {"crop_n_layers": 1},
    {"min_mask_region_area": 100},
    {"crop_n_layers": 1, "min_mask_region_area": 100},
]
NO_MASK = {"points_per_side": 1, "pred_iou_thresh": 1e9}


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


PLAIN = [noise(60, 70), np.zeros((50, 50, 3), np.uint8)]


@pytest.mark.parametrize("crops", CROPS, ids=str)
def test_an_image_without_a_mask_has_none_in_any_setting(crops):
    segmenter = SamSegmenter(random_sam(), device="cpu", **NO_MASK, **crops)
    for image, segments in zip(PLAIN, segmenter.segment(PLAIN), strict=True):
        assert len(segments) == 0
        assert segments.size == image.shape[:2]
        assert segments.bbox.shape == (0, 4)
        assert segments.class_probability.shape == (0, 10)


@pytest.mark.parametrize("size", [(1, 1), (5, 2)])
def test_an_image_that_is_too_small_for_its_crops_is_segmented(size):
    knobs = EVERYTHING | {"points_per_side": 1, "crop_n_layers": 2, "min_mask_region_area": 9}
    (segments,) = SamSegmenter(random_sam(), device="cpu", **knobs).segment([noise(*size)])
    assert len(segments) > 0
    for counts in segments.counts:
        assert counts.sum() == size[0] * size[1]


def test_crops_without_a_point_are_refused():
    with pytest.raises(ValueError, match=r"crop_n_points_downscale_factor .* no point .* layer 2"):
        SamSegmenter(
            random_sam(),
            device="cpu",
            points_per_side=2,
            crop_n_layers=2,
            crop_n_points_downscale_factor=2,
        )


class OnlySome(SamSegmenter):
    """Finds masks in images of which the first pixel is not black."""

    def segment(self, images):
        found = []
        for image in images:
            threshold = EVERYTHING["pred_iou_thresh"] if image[0, 0].any() else 1e9
            self.pred_iou_thresh = self.generator.pred_iou_thresh = threshold
            found += super().segment([image])
        return found


@pytest.mark.parametrize("crops", CROPS[1::2], ids=str)
def test_a_shard_with_an_image_without_a_mask_is_finished(tmp_path, classifier, crops):  # noqa: F811
    images = [picture(50, 60), noise(40, 40)]
    images[0][0, 0] = 9
    images[1][0, 0] = 0
    shard = write_shard(tmp_path / "images.h5", [encoded(image) for image in images])
    knobs = EVERYTHING | {"points_per_side": 1} | crops
    segmenter = OnlySome(random_sam(), device="cpu", **knobs)
    assert segment_shard(shard, tmp_path / "segments.h5", segmenter, classifier) == 2
    lengths = [len(segments) for segments in read_segments(tmp_path / "segments.h5")]
    assert lengths[0] > 0
    assert lengths[1] == 0


@pytest.mark.parametrize("where", ["cpu", "gpu"])
@pytest.mark.parametrize("threshold", [0.0, 0.95])
def test_a_mask_without_a_stability_score_is_dropped(where, threshold):
    low = torch.full((3, 32, 32), -900.0)  # nothing near the threshold: 0 pixels of 0
    low[1, 8:24, 8:24] = 700
    arguments = (low, torch.ones(3), 128, (128, 128), (90, 90), Thresholds(threshold, 1.0, 0.7))
    if where == "cpu":
        kept = postprocess.judge(*arguments)
    else:
        kept = postprocess_gpu.judge(*arguments, AdaptiveBatches(2, "mask"))
    assert kept.candidate == [1]
    assert np.isfinite(kept.stability_score).all()


def spoiled(part: str, value: float):
    """A SAM that gives a number that is none."""
    sam = random_sam()
    decoder = sam.mask_decoder
    bias = {
        "predicted IoU": decoder.iou_prediction_head.layers[-1].bias,
        "masks": decoder.output_hypernetworks_mlps[2].layers[-1].bias,
    }[part]
    bias.data[1] = value
    return sam


@pytest.mark.parametrize("crops", [{}, {"crop_n_layers": 1}], ids=str)
@pytest.mark.parametrize("threshold", [-1e9, 0.88])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_predicted_iou_that_is_none_is_not_taken_for_a_bad_mask(crops, threshold, value):
    knobs = EVERYTHING | {"points_per_side": 2, "pred_iou_thresh": threshold} | crops
    segmenter = SamSegmenter(spoiled("predicted IoU", value), device="cpu", **knobs)
    with pytest.raises(NotFinite, match="predicted IoU of SAM is not finite in float32; its weig"):
        segmenter.segment([picture(40, 50)])


@pytest.mark.parametrize("crops", [{}, {"crop_n_layers": 1}], ids=str)
def test_masks_that_are_none_are_not_taken_for_empty_ones(crops):
    knobs = EVERYTHING | {"points_per_side": 2} | crops
    segmenter = SamSegmenter(spoiled("masks", np.nan), device="cpu", **knobs)
    with pytest.raises(NotFinite, match="masks of SAM is not finite in float32"):
        segmenter.segment([picture(40, 50)])


def overflowing_sam():
    """Numbers up to 1e5, of which float16 has none."""
    sam = random_sam()
    sam.mask_decoder.iou_prediction_head.layers[-1].bias.data[:] = 1e5
    return sam


@pytest.mark.parametrize("crops", [{}, {"crop_n_layers": 1}], ids=str)
def test_an_overflow_names_the_image_and_the_precision(tmp_path, classifier, crops):  # noqa: F811
    shard = write_shard(tmp_path / "images.h5", [encoded(picture(40, 50))])
    knobs = EVERYTHING | {"points_per_side": 1} | crops
    half = SamSegmenter(overflowing_sam(), device="cpu", precision="float16", **knobs)
    message = (
        r"images\.h5: image 0: the predicted IoU of SAM is not finite in float16; "
        "set the precision of the segmentation to float32 and run again"
    )
    with pytest.raises(NotFinite, match=message):
        segment_shard(shard, tmp_path / "s.h5", half, classifier)
    assert not (tmp_path / "s.h5").exists()
    full = SamSegmenter(overflowing_sam(), device="cpu", **knobs)
    segment_shard(shard, tmp_path / "s.h5", full, classifier, {"precision": "float32"})


class SpoilsAnImage(SamSegmenter):
    """SAM's embedding of the image of 44 × 44 pixels is NaN."""

    def _encode(self, resized):
        embeddings = super()._encode(resized)
        for row, image in enumerate(resized):
            if image.shape[0] == image.shape[1]:
                embeddings[row] = torch.nan
        return embeddings


def test_of_a_batch_the_image_is_named(tmp_path, classifier):  # noqa: F811
    images = [picture(40, 50), picture(50, 40), picture(44, 44), picture(30, 60)]
    shard = write_shard(tmp_path / "images.h5", [encoded(image) for image in images])
    knobs = EVERYTHING | {"points_per_side": 1, "image_batch": 4}
    segmenter = SpoilsAnImage(random_sam(), device="cpu", **knobs)
    with pytest.raises(NotFinite, match=r"images\.h5: image 2: "):
        segment_shard(shard, tmp_path / "s.h5", segmenter, classifier)


def test_classes_that_are_none_name_the_image(tmp_path):
    spoiled = build_classifier("efficientnet_lite0", device="cpu", precision="bfloat16")
    spoiled.model._fc.bias.data[500] = torch.inf
    images = [encoded(picture(40, 50)), encoded(picture(50, 40))]
    shard = write_shard(tmp_path / "images.h5", images)
    segmenter = SamSegmenter(random_sam(), device="cpu", points_per_side=1, **EVERYTHING)
    message = (
        "image 0: the output of the classifier is not finite in bfloat16; set the precision of"
    )
    with pytest.raises(NotFinite, match=message):
        segment_shard(shard, tmp_path / "s.h5", segmenter, spoiled)


@pytest.mark.parametrize("crops", [{}, {"crop_n_layers": 1}], ids=str)
def test_precision_reaches_sam_with_and_without_crops(crops):
    knobs = EVERYTHING | {"points_per_side": 1} | crops
    full, half = (
        SamSegmenter(random_sam(), device="cpu", precision=precision, **knobs).segment(
            [picture(40, 50)]
        )[0]
        for precision in ("float32", "bfloat16")
    )
    assert half.predicted_iou.dtype == np.float32
    assert not np.isin(half.predicted_iou, full.predicted_iou).all()
    assert half.predicted_iou.mean() == pytest.approx(full.predicted_iou.mean(), abs=0.1)
