"""The segmenter finds the masks that SamAutomaticMaskGenerator finds, and its parts are exact."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from torchvision.ops import batched_nms

from geoloc.pytorch.device import AdaptiveBatches
from geoloc.segmentation import rle
from geoloc.segmentation.segmenters import build_segmenter
from geoloc.segmentation.segmenters.sam import postprocess, postprocess_gpu
from geoloc.segmentation.segmenters.sam.decoder import decode, project_keys
from geoloc.segmentation.segmenters.sam.generator import SamSegmenter
from geoloc.segmentation.segmenters.sam.models import build_sam
from geoloc.segmentation.segmenters.sam.postprocess import Thresholds
from scenes.draw import draw_scene
from tests.conftest import ROOT
from tests.small_sam import EVERYTHING, picture, random_sam


def matched(reference: list[dict], segments) -> np.ndarray:
    """Index of the partner of each reference mask, −1 where none has IoU ≥ 0.99.

    Masks can be duplicates of each other: the partner is the nearest by predicted IoU.
    """
    theirs = np.array([mask["segmentation"].ravel() for mask in reference], np.float32)
    ours = np.array([rle.decode(c, segments.size).ravel() for c in segments.counts], "f4")
    shared = theirs @ ours.T
    iou = shared / (theirs.sum(1)[:, None] + ours.sum(1) - shared)
    predicted_iou = np.array([mask["predicted_iou"] for mask in reference])
    distance = np.abs(predicted_iou[:, None] - segments.predicted_iou)
    partner = np.where(iou >= 0.99, distance, np.inf)
    return np.where((iou >= 0.99).any(1), partner.argmin(1), -1)


def assert_equal_masks(sam: Sam, image: np.ndarray, least: int, **knobs) -> None:
    # The generator holds three float masks of the picture's size for each point of a batch.
    reference = SamAutomaticMaskGenerator(sam, points_per_batch=8, **knobs).generate(image)
    (segments,) = SamSegmenter(sam, device="cpu", **knobs).segment([image])
    assert len(reference) >= least
    assert abs(len(segments) - len(reference)) <= 0.01 * len(reference)
    match = matched(reference, segments)
    assert (match >= 0).mean() >= 0.99
    pairs = [(mask, row) for mask, row in zip(reference, match, strict=True) if row >= 0]
    for mask, row in pairs:
        assert segments.predicted_iou[row] == pytest.approx(mask["predicted_iou"], abs=1e-4)
        # In a small picture one pixel that rounds to the threshold's other side is more.
        stable = pytest.approx(mask["stability_score"], abs=max(1e-4, 1.5 / mask["area"]))
        assert segments.stability_score[row] == stable


@pytest.mark.parametrize("heads", [2, 8])
@pytest.mark.parametrize("size", [(96, 96), (150, 111), (64, 200)])
def test_masks_equal_those_of_the_generator(heads, size):
    knobs = EVERYTHING | {"points_per_side": 5}
    assert_equal_masks(random_sam(heads), picture(*size), least=50, **knobs)


DEMO_KNOBS = {"points_per_side": 8, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.7}


@pytest.fixture(scope="module")
def demo_sam() -> Sam:
    return build_sam("demo", ROOT / "demo" / "sam.safetensors").requires_grad_(False)


@pytest.mark.parametrize(("country", "size"), [("FR", (640, 640)), ("NA", (331, 768))])
def test_masks_of_scenes_equal_those_of_the_generator(demo_sam, country, size):
    image = draw_scene(country, np.random.default_rng(4), size).image
    assert_equal_masks(demo_sam, image, least=3, **DEMO_KNOBS)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_finds_the_same_objects(demo_sam, precision):
    """Not the same pixels: a sum of bfloat16 keeps 8 bits, and scores near a threshold cross it.
    Nothing is suppressed, because of two masks with nearly the same score another one may win."""
    knobs = DEMO_KNOBS | {"box_nms_thresh": 1.0}
    image = draw_scene("FR", np.random.default_rng(4), (640, 640)).image
    full, half = (
        SamSegmenter(demo_sam, device="cpu", precision=name, **knobs).segment([image])[0]
        for name in ("float32", precision)
    )
    assert half.predicted_iou.dtype == half.stability_score.dtype == np.float32
    masks = [
        np.array([rle.decode(c, found.size).ravel() for c in found.counts], np.float32)
        for found in (full, half)
    ]
    shared = masks[0] @ masks[1].T
    iou = shared / (masks[0].sum(1)[:, None] + masks[1].sum(1) - shared)
    assert (iou.max(1) >= 0.9).mean() >= 0.9


def test_a_compiled_encoder_finds_the_same_masks(monkeypatch):
    """As a graph only: to make machine code of it takes minutes, and is torch's own work."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    knobs = EVERYTHING | {"points_per_side": 3}
    sam, image = random_sam(), picture(96, 96)
    plain, compiled = (
        SamSegmenter(sam, device="cpu", compile=choice, **knobs).segment([image])[0]
        for choice in (False, True)
    )
    assert compiled.predicted_iou == pytest.approx(plain.predicted_iou, abs=1e-5)
    assert compiled.area == pytest.approx(plain.area, abs=2)


def test_masks_of_low_predicted_iou_are_dropped_as_by_the_generator():
    sam, image, knobs = random_sam(), picture(120, 90, seed=3), EVERYTHING | {"points_per_side": 4}
    (everything,) = SamSegmenter(sam, device="cpu", **knobs).segment([image])
    with torch.no_grad():
        sam.mask_decoder.iou_prediction_head.layers[-1].bias.add_(
            1 - float(np.median(everything.predicted_iou))
        )
    assert_equal_masks(sam, image, least=5, **knobs | {"pred_iou_thresh": 1.0})


@pytest.mark.parametrize("name", ["crop_n_layers", "min_mask_region_area"])
def test_crops_and_small_regions_are_those_of_the_generator(name):
    knobs = EVERYTHING | {"points_per_side": 2, "crop_nms_thresh": 1.0, name: 1}
    assert_equal_masks(random_sam(), picture(80, 100), least=2, **knobs)


def test_images_of_different_sizes_in_one_batch_do_not_mix():
    sam = random_sam()
    knobs = EVERYTHING | {"points_per_side": 3}
    images = [picture(60, 90), picture(90, 40, seed=1), picture(70, 70, seed=2)]
    together = SamSegmenter(sam, device="cpu", image_batch=3, **knobs).segment(images)
    for image, segments in zip(images, together, strict=True):
        (alone,) = SamSegmenter(sam, device="cpu", points_per_batch=2, **knobs).segment([image])
        assert segments.size == image.shape[:2]
        assert segments.predicted_iou == pytest.approx(alone.predicted_iou, abs=1e-5)
        assert segments.area == pytest.approx(alone.area, abs=2)


def test_image_without_masks_has_an_empty_result():
    segmenter = SamSegmenter(random_sam(), device="cpu", points_per_side=2, pred_iou_thresh=1e9)
    (segments,) = segmenter.segment([picture(50, 60)])
    assert len(segments) == 0
    assert segments.bbox.shape == (0, 4)
    assert segments.class_id.shape == (0, 10)


@pytest.mark.parametrize("heads", [2, 8])
def test_decoder_equals_the_packages(heads):
    sam = random_sam(heads)
    embedding = torch.randn(1, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    points = torch.rand(7, 1, 2, dtype=torch.float64) * 128
    prompts, dense = sam.prompt_encoder((points, torch.ones(7, 1)), boxes=None, masks=None)
    masks, predicted_iou = sam.mask_decoder(
        embedding, sam.prompt_encoder.get_dense_pe(), prompts, dense, multimask_output=True
    )
    threshold = predicted_iou.flatten().sort().values[9:11].mean().item()
    decoded = decode(sam, project_keys(sam, embedding[0]), prompts, threshold)
    passes = predicted_iou > threshold
    torch.testing.assert_close(decoded.predicted_iou, predicted_iou[passes])
    torch.testing.assert_close(decoded.low_resolution, masks[passes], rtol=1e-4, atol=1e-4)


def blobs(count: int, side: int, seed: int) -> torch.Tensor:
    """Logits (count, side, side) of soft ellipses, many of them near duplicates, some rugged."""
    random = np.random.default_rng(seed)
    centers = random.uniform(-0.1, 1.1, (count // 4, 2)).repeat(4, 0) + random.normal(0, 0.01)
    radii = random.uniform(0.02, 0.5, (count // 4, 2)).repeat(4, 0)
    radii = radii * random.uniform(0.9, 1.1, (count, 2))
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    distance = np.hypot(
        *(
            (grid - centers[:, axis, None, None]) / radii[:, axis, None, None]
            for axis, grid in enumerate((x, y))
        )
    )
    slope = random.uniform(1, 40, (count, 1, 1))
    noise = random.normal(0, 1, (count, side, side)) * random.choice([0, 2], (count, 1, 1))
    return torch.from_numpy((slope * (1 - distance) + noise).astype(np.float32))


def judged_plainly(low, iou, img_size, input_size, size, t: Thresholds):
    """What SamAutomaticMaskGenerator does after its decoder."""
    options = {"mode": "bilinear", "align_corners": False}
    large = torch.nn.functional.interpolate(low[:, None], (img_size, img_size), **options)
    large = large[..., : input_size[0], : input_size[1]]
    logits = torch.nn.functional.interpolate(large, size, **options)[:, 0]
    stability = calculate_stability_score(logits, t.mask_threshold, t.stability_score_offset)
    stable = (stability >= t.stability_score_thresh).nonzero()[:, 0]
    masks = logits[stable] > t.mask_threshold
    boxes = batched_mask_to_box(masks).float()
    kept = batched_nms(boxes, iou[stable], torch.zeros(len(stable)), t.box_nms_thresh)
    return stable[kept], stability[stable[kept]], masks[kept].numpy()


@pytest.mark.parametrize(
    ("side", "img_size", "input_size", "size"),
    [
        (64, 256, (256, 256), (320, 320)),
        (64, 256, (170, 256), (213, 320)),
        (64, 256, (256, 100), (50, 20)),  # smaller than the logits
        (128, 256, (256, 256), (300, 300)),
    ],
)
@pytest.mark.parametrize("threshold", [0.3, 0.7])
@pytest.mark.parametrize("where", ["cpu", "gpu"])
def test_judging_equals_the_generators(side, img_size, input_size, size, threshold, where):
    low = blobs(120, side, seed=side)
    iou = torch.rand(len(low), generator=torch.Generator().manual_seed(1)).round(decimals=2)
    thresholds = Thresholds(0.7, 1.0, threshold)
    arguments = (low, iou, img_size, input_size, size, thresholds)
    if where == "cpu":
        kept = postprocess.judge(*arguments)
    else:
        kept = postprocess_gpu.judge(*arguments, AdaptiveBatches(50, "mask"))
    expected, stability, masks = judged_plainly(*arguments)
    assert 5 < len(expected) < 100
    assert kept.candidate == expected.tolist()
    assert kept.stability_score == pytest.approx(stability.tolist(), abs=1e-4)
    for counts, mask in zip(kept.counts, masks, strict=True):
        assert (rle.decode(counts, size) ^ mask).sum() <= 1


def test_batches_halve_when_memory_runs_out():
    def work(rows: slice) -> list[int]:
        if rows.stop - rows.start > 3:
            raise torch.OutOfMemoryError("out of memory")
        return list(range(rows.start, rows.stop))

    batches = AdaptiveBatches(16, "test")
    assert sum(batches.map(work, 10), []) == list(range(10))
    assert batches.size == 2


def test_batches_give_up_when_a_single_one_is_too_large():
    def work(rows: slice) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        AdaptiveBatches(4, "test").map(work, 10)


def test_unknown_segmenter_names_the_known_ones():
    with pytest.raises(ValueError, match="vit_h"):
        build_segmenter("vit_x", "nowhere.pth")


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools
@settings(max_examples=60)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_run_lengths_round_trip_and_agree_with_coco(mask):
    counts = rle.encode(mask.T, 0, 0, mask.shape)
    assert np.array_equal(rle.decode(counts, mask.shape), mask)
    encoded = coco.frPyObjects({"size": list(mask.shape), "counts": counts.tolist()}, *mask.shape)
    assert np.array_equal(coco.decode(encoded), mask)
    assert rle.area(counts) == coco.area(encoded)
    assert rle.bounding_box(counts, mask.shape) == tuple(coco.toBbox(encoded))
    assert (counts[1:] > 0).all()


@settings(max_examples=40)
@given(arrays(bool, (4, 3)), st.integers(0, 2), st.integers(0, 3))
def test_run_lengths_of_a_window_are_those_of_the_whole(window, left, top):
    whole = np.zeros((8, 6), bool)
    whole[top : top + 3, left : left + 4] = window.T
    counts = rle.encode(window, left, top, whole.shape)
    assert np.array_equal(rle.decode(counts, whole.shape), whole)


def test_run_lengths_of_another_size_are_refused():
    with pytest.raises(ValueError, match="add up to 5"):
        rle.decode(np.array([2, 3], np.uint32), (2, 3))
