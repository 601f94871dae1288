"""SAM 2 finds the masks that the mask generation of transformers finds."""

import copy
import json
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Sam2VideoConfig, Sam2VideoModel, pipeline

from geoloc.pytorch.finite import NotFinite
from geoloc.segmentation import rle
from geoloc.segmentation.segmenters.sam.sam2 import Sam2Segmenter, build, load_sam2
from tests.small_sam import picture
from tests.small_segmenters import SIDE, sam2, sam2_parts

LOOSE = {
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.2,
    "stability_score_offset": 0.05,
    "box_nms_thresh": 1.0,
}


@pytest.fixture(scope="module")
def network_and_processor():
    return sam2()


def assert_same_masks(segments, masks: list, predicted_iou: torch.Tensor, least: int) -> None:
    """The same masks in the same number.

    Both enlarge the same logits bilinearly, in another order of float32 operations: numbers up to
    30 differ by 1e-5. A pixel so near the threshold, of which a mask seldom has one, may change
    sides.
    """
    assert len(masks) >= least
    assert len(segments) == len(masks)
    ours = np.array([rle.decode(c, segments.size) for c in segments.counts])
    theirs = np.array([np.asarray(mask) for mask in masks])
    pixels = (theirs[:, None] != ours).sum((2, 3))
    distance = np.abs(np.asarray(predicted_iou)[:, None] - segments.predicted_iou)
    pairs = (pixels <= 1) & (distance < 1e-5)
    assert pairs.any(0).all()
    assert pairs.any(1).all()


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"box_nms_thresh": 0.96, "pred_iou_thresh": 0.6, "stability_score_thresh": 0.97},
        {"crop_n_layers": 1, "crop_nms_thresh": 1.0, "points_per_side": 2},
    ],
    ids=str,
)
def test_masks_of_square_images_equal_those_of_the_pipeline(network_and_processor, knobs):
    network, processor = network_and_processor
    # The crops of 63 pixels are square; see `processed` for other images.
    image, knobs = picture(63, 63), LOOSE | {"points_per_side": 4} | knobs
    (segments,) = Sam2Segmenter(network, processor, device="cpu", **knobs).segment([image])
    generator = pipeline("mask-generation", model=network, image_processor=processor, device="cpu")
    same = ("pred_iou_thresh", "stability_score_thresh", "stability_score_offset")
    expected = generator(
        Image.fromarray(image),
        points_per_crop=knobs["points_per_side"],
        crops_n_layers=knobs.get("crop_n_layers", 0),
        crops_nms_thresh=knobs["box_nms_thresh"],
        **{name: knobs[name] for name in same},
    )
    assert_same_masks(segments, expected["masks"], expected["scores"], least=3)


def processed(network, processor, image, side: int):
    """Masks of a grid by the steps of the processor, on points that are stretched like the image.

    The pipeline itself does not stretch them: its points miss a part of such images.
    """
    pixels = processor([image], input_data_format="channels_last", return_tensors="pt")
    middles = (torch.arange(side) + 0.5) / side * SIDE
    points = torch.cartesian_prod(middles, middles).flip(1)[None, :, None]
    output = network(pixel_values=pixels["pixel_values"], input_points=points)
    (masks,) = processor.post_process_masks(output.pred_masks, [image.shape[:2]], binarize=False)
    height, width = image.shape[:2]
    kept = processor.filter_masks(
        masks, output.iou_scores[0], (height, width), [0, 0, width, height],
        0.0, LOOSE["stability_score_thresh"], 0, LOOSE["stability_score_offset"],
    )  # fmt: skip
    masks, scores, _, _ = processor.post_process_for_mask_generation(*kept, 0.96)
    return masks, scores


@pytest.mark.parametrize("size", [(50, 80), (90, 40)])
def test_masks_of_other_images_equal_those_of_the_processor(network_and_processor, size):
    network, processor = network_and_processor
    image, knobs = picture(*size), LOOSE | {"points_per_side": 4, "box_nms_thresh": 0.96}
    (segments,) = Sam2Segmenter(network, processor, device="cpu", **knobs).segment([image])
    assert_same_masks(segments, *processed(network, processor, image, 4), least=3)


def test_holes_and_islands_are_removed(network_and_processor):
    knobs = LOOSE | {"points_per_side": 3, "device": "cpu"}
    (plain,), (cleaned,) = (
        Sam2Segmenter(*network_and_processor, min_mask_region_area=area, **knobs).segment(
            [picture(90, 60)]
        )
        for area in (0, 60)
    )
    assert min(small_regions(plain, 60)) > 0
    assert max(small_regions(cleaned, 60)) == 0


def small_regions(segments, area: int) -> list[int]:
    """Of each mask with a large region, how many other regions and holes are small."""
    found = []
    for counts in segments.counts:
        mask = rle.decode(counts, segments.size)
        areas = [
            cv2.connectedComponentsWithStats(part.astype(np.uint8), connectivity=8)[2][1:, -1]
            for part in (mask, ~mask)
        ]
        if areas[0].max() >= area:
            found.append(int((np.concatenate(areas) < area).sum()))
    return found


def test_images_of_different_sizes_in_one_batch_do_not_mix(network_and_processor):
    knobs = LOOSE | {"points_per_side": 3}
    images = [picture(60, 90), picture(90, 40, seed=1)]
    batch = Sam2Segmenter(*network_and_processor, device="cpu", image_batch=2, **knobs)
    single = Sam2Segmenter(*network_and_processor, device="cpu", points_per_batch=2, **knobs)
    for image, segments in zip(images, batch.segment(images), strict=True):
        (alone,) = single.segment([image])
        assert segments.size == image.shape[:2]
        assert segments.predicted_iou == pytest.approx(alone.predicted_iou, abs=1e-5)
        assert segments.area == pytest.approx(alone.area, abs=2)


@pytest.mark.parametrize("settings", [{"precision": "float16"}, {"compile": True}], ids=str)
def test_another_engine_finds_nearly_the_same_masks(network_and_processor, settings, monkeypatch):
    """Compiled as a graph only: machine code takes minutes to make, and is torch's own work."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    knobs = LOOSE | {"points_per_side": 2, "device": "cpu"}
    (plain,), (other,) = (
        Sam2Segmenter(*copy.deepcopy(network_and_processor), **knobs, **more).segment(
            [picture(50, 60)]
        )
        for more in ({}, settings)
    )
    assert other.predicted_iou.dtype == np.float32
    assert other.predicted_iou == pytest.approx(plain.predicted_iou, abs=0.01)
    assert other.area == pytest.approx(plain.area, rel=0.1)


@pytest.mark.parametrize("crops", [{}, {"crop_n_layers": 1}], ids=str)
def test_numbers_that_are_none_name_the_image(crops):
    network, processor = sam2()
    knobs = LOOSE | {"points_per_side": 2} | crops
    segmenter = Sam2Segmenter(network, processor, device="cpu", image_batch=2, **knobs)
    network.mask_decoder.iou_prediction_head.proj_out.bias[1] = torch.nan
    with pytest.raises(NotFinite, match="predicted IoU of SAM 2 is not finite in float32") as error:
        segmenter.segment([picture(40, 50), picture(50, 40)])
    assert error.value.image == 0


@pytest.fixture
def folder(network_and_processor, tmp_path):
    for part in network_and_processor:
        part.save_pretrained(tmp_path / "sam2")
    return tmp_path / "sam2"


def test_a_folder_gives_the_same_masks(network_and_processor, folder):
    knobs = LOOSE | {"points_per_side": 2, "device": "cpu"}
    (expected,) = Sam2Segmenter(*network_and_processor, **knobs).segment([picture(50, 60)])
    (found,) = build(folder, **knobs).segment([picture(50, 60)])
    assert found.predicted_iou.tolist() == expected.predicted_iou.tolist()
    assert found.area.tolist() == expected.area.tolist()


def test_the_folder_of_a_video_model_gives_its_image_model(network_and_processor, tmp_path):
    """As SAM 2.1 is published. Without memory a video model segments like the one for images."""
    network, processor = network_and_processor
    video = Sam2VideoModel(Sam2VideoConfig(**sam2_parts(), memory_attention_hidden_size=64))
    video.load_state_dict(network.state_dict(), strict=False)
    video.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, _ = load_sam2(tmp_path)
    state = network.state_dict()
    assert loaded.state_dict().keys() == state.keys()
    assert all(torch.equal(x, state[name]) for name, x in loaded.state_dict().items())


TENSOR = "mask_decoder.iou_token.weight"


def change(folder, **tensors) -> None:
    path = folder / "model.safetensors"
    state = load_file(path) | tensors
    save_file({n: x for n, x in state.items() if x is not None}, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({TENSOR: None}, rf"missing: {TENSOR}"),
        ({TENSOR: torch.zeros(1, 65)}, rf"of another shape: {TENSOR} \(1, 65\) for \(1, 64\)"),
        ({TENSOR: torch.full((1, 64), torch.nan)}, rf"not finite: {TENSOR}"),
        ({"extra": torch.zeros(2)}, "unexpected: extra"),
    ],
)
def test_a_folder_of_other_weights_is_refused(folder, tensors, message):
    change(folder, **tensors)
    with pytest.raises(
        OSError, match=rf"model\.safetensors: not the weights of the Sam2.*{message}"
    ):
        load_sam2(folder)


def test_a_damaged_folder_is_refused_in_one_line(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(OSError, match="cannot be loaded as Sam2Model") as error:
        load_sam2(folder)
    assert "\n" not in str(error.value)
    path.rename(folder / "pytorch_model.bin")
    with pytest.raises(OSError, match=r"pytorch_model\.bin is a pickle, which is not loaded"):
        load_sam2(folder)


def test_the_processor_of_another_model_is_refused(folder):
    path = folder / "preprocessor_config.json"
    text = path.read_text()
    path.write_text(text.replace(str(SIDE), "64"))
    with pytest.raises(OSError, match=r"makes \(3, 64, 64\) of an image, its model sees \(3, 128"):
        load_sam2(folder)
    path.write_text(json.dumps(json.loads(text) | {"do_rescale": False}))
    with pytest.raises(OSError, match=r"turns white into 1\d\d\d, so it does not scale pixels"):
        load_sam2(folder)
