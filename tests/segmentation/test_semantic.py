"""Semantic networks name every pixel as transformers does, and their regions are the labels'."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTokenizer,
    Mask2FormerImageProcessor,
    OneFormerImageProcessor,
    SegformerImageProcessor,
)

from geoloc.pytorch.finite import NotFinite
from geoloc.segmentation import rle
from geoloc.segmentation.segmenters.semantic.networks import label_probabilities, load_semantic
from geoloc.segmentation.segmenters.semantic.regions import label_regions
from geoloc.segmentation.segmenters.semantic.segmenter import SemanticSegmenter, build, seen_size
from geoloc.segmentation.shard import segment_shard
from tests.segmentation.test_shard import encoded, write_shard
from tests.small_sam import picture
from tests.small_segmenters import BUILDERS, IMAGENET, semantic_folder

PROCESSORS = {
    "mask2former": Mask2FormerImageProcessor,
    "oneformer": OneFormerImageProcessor,
    "segformer": SegformerImageProcessor,
}
SEEN = (96, 64)  # what the networks see unchanged
# Sizes at which processors enlarge like the published code: Mask2Former's enlarges masks to 384
# pixels before their sums, OneFormer's enlarges the sums. The published code enlarges the masks.
SIZES = {"mask2former": (384, 384), "oneformer": (24, 16), "segformer": (110, 70)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("semantic")
    return {name: semantic_folder(root / name, name) for name in BUILDERS}


@pytest.fixture(params=BUILDERS)
def architecture(request):
    return request.param


def segmenter(folder, vocabulary="cityscapes", **settings) -> SemanticSegmenter:
    settings = {"image_size": max(SEEN), "min_mask_region_area": 1, "device": "cpu"} | settings
    return build(folder, vocabulary=vocabulary, **settings)


def label_map(segments) -> np.ndarray:
    """The label of each pixel, int16 (H, W); −1 where no segment is."""
    labels = np.full(segments.size, -1, np.int16)
    for counts, label in zip(segments.counts, segments.class_id[:, 0], strict=True):
        mask = rle.decode(counts, segments.size)
        assert (labels[mask] == -1).all()
        labels[mask] = label
    return labels


def output_and_processor(folder, architecture: str, image: np.ndarray):
    """What the network gives for the pixels of its processor, and the processor."""
    processor = PROCESSORS[architecture](do_resize=False, **IMAGENET)
    pixels = processor.preprocess([image], return_tensors="pt")["pixel_values"]
    inputs = {}
    if architecture == "oneformer":
        tokens = CLIPTokenizer.from_pretrained(folder)(
            ["the task is semantic"], padding="max_length", max_length=77, return_tensors="pt"
        )
        inputs["task_inputs"] = tokens["input_ids"] * tokens["attention_mask"]
    with torch.inference_mode():
        network = load_semantic(folder, "cityscapes").network
        return network(pixel_values=pixels, **inputs), processor


def test_labels_equal_those_of_the_processor(folders, architecture, monkeypatch):
    """All of them, but for pixels on the border of two labels that round to the other."""
    if architecture == "oneformer":  # this one fetches names of classes, which play no part here
        monkeypatch.setattr(OneFormerImageProcessor, "__init__", without_names)
    folder, size, image = folders[architecture], SIZES[architecture], picture(*SEEN)
    output, processor = output_and_processor(folder, architecture, image)
    (expected,) = processor.post_process_semantic_segmentation(output, [size])
    assert len(np.unique(expected)) >= 2
    labels = label_probabilities(output, 0, size).argmax(0)
    assert (labels == expected).float().mean() >= 0.999
    (segments,) = segmenter(folder).segment([image])
    labels = label_probabilities(output, 0, SEEN).argmax(0).numpy()
    assert len(np.unique(labels)) >= 2
    assert (label_map(segments) == labels).mean() >= 0.999


def without_names(self, **settings):
    super(OneFormerImageProcessor, self).__init__(**settings)


def test_regions_cover_the_image_and_rank_by_their_mean_probability(folders, architecture):
    image = picture(80, 64)
    (segments,) = segmenter(folders[architecture]).segment([image])
    assert (label_map(segments) >= 0).all()
    assert segments.area.sum() == image.shape[0] * image.shape[1]
    best = segments.class_probability[:, 0]
    assert ((best >= 0) & (best <= 1)).all()
    assert (np.diff(best) <= 0).all()
    assert segments.predicted_iou.tolist() == segments.stability_score.tolist() == best.tolist()
    assert (segments.class_id[:, 1:] == -1).all()
    assert not segments.class_probability[:, 1:].any()


def test_regions_of_a_label_are_apart_and_small_ones_are_dropped():
    labels = np.array(
        [
            [3, 3, 0, 0, 7],
            [0, 0, 3, 0, 7],  # touches the region above at a corner
            [0, 0, 0, 0, 7],
            [3, 0, 0, 0, 0],  # a region of its own, of one pixel
        ]
    )
    probability = np.where(labels == 3, 0.5, np.where(labels == 7, 0.9, 0.8)).astype(np.float32)
    probability[0, 0] = 0.2
    segments = label_regions(labels, probability, smallest=2)
    assert segments.class_id[:, 0].tolist() == [7, 0, 3]
    assert segments.class_probability[:, 0] == pytest.approx([0.9, 0.8, 0.4])
    assert segments.area.tolist() == [3, 13, 3]
    assert segments.bbox.tolist() == [[4, 0, 1, 3], [0, 0, 5, 4], [0, 0, 3, 2]]
    expected = labels.copy()
    expected[3, 0] = -1
    assert np.array_equal(label_map(segments), expected)
    assert label_regions(labels, probability, smallest=1).area.tolist() == [3, 13, 1, 3]


def test_images_of_different_sizes_in_one_batch_do_not_mix(folders, architecture):
    images = [picture(64, 64), picture(64, 64, seed=1), picture(40, 90, seed=2)]
    together = segmenter(folders[architecture], image_batch=3).segment(images)
    for image, segments in zip(images, together, strict=True):
        (alone,) = segmenter(folders[architecture]).segment([image])
        assert segments.size == image.shape[:2]
        assert (label_map(segments) == label_map(alone)).mean() >= 0.999


def test_half_precision_gives_nearly_the_same_labels(folders, architecture):
    image = picture(*SEEN)
    (full,) = segmenter(folders[architecture]).segment([image])
    (half,) = segmenter(folders[architecture], precision="float16").segment([image])
    assert half.class_probability.dtype == np.float32
    assert (label_map(half) == label_map(full)).mean() >= 0.9


def test_a_compiled_network_gives_the_same_labels(folders, monkeypatch):
    """As a graph only: to make machine code of it takes minutes, and is torch's own work."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    (plain,) = segmenter(folders["segformer"]).segment([picture(*SEEN)])
    (compiled,) = segmenter(folders["segformer"], compile=True).segment([picture(*SEEN)])
    assert (label_map(compiled) == label_map(plain)).mean() >= 0.999


@pytest.mark.parametrize(
    ("size", "seen"), [((640, 640), (640, 640)), ((662, 1536), (288, 640)), ((5, 900), (32, 640))]
)
def test_the_longer_side_is_seen_at_the_image_size(size, seen):
    assert seen_size(size, 640) == seen


def change(folder, **tensors) -> None:
    path = folder / "model.safetensors"
    state = load_file(path) | tensors
    save_file({n: x for n, x in state.items() if x is not None}, path, {"format": "pt"})


@pytest.mark.parametrize("name", ["mask2former", "oneformer"])
def test_what_published_folders_lack_and_have_over_plays_no_part(tmp_path, name):
    """They hold indices that Swin computes itself, and not the normalization that it never uses."""
    folder = semantic_folder(tmp_path / name, name)
    image, prefix = picture(60, 60), "model.pixel_level_module.encoder."
    spare = [n for n in load_file(folder / "model.safetensors") if ".swin.layernorm." in n]
    assert len(spare) == 2
    change(folder, **{n: torch.full((96,), 7.0) for n in spare})
    (expected,) = segmenter(folder).segment([image])
    index = f"{prefix}encoder.layers.0.blocks.0.attention.self.relative_position_index"
    change(folder, **dict.fromkeys(spare), **{index: torch.zeros(16, 16, dtype=torch.long)})
    if name == "oneformer":
        change(folder, **{"text_mapper.text_encoder.ln_final.weight": torch.ones(16)})
    (found,) = segmenter(folder).segment([image])
    # Sums of float32 may differ in their last bit, by where their operands lie in memory.
    assert found.class_id.tolist() == expected.class_id.tolist()
    assert np.allclose(found.class_probability, expected.class_probability, rtol=0, atol=1e-6)


TENSOR = "decode_head.classifier.bias"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({TENSOR: None}, f"missing: {TENSOR}"),
        ({TENSOR: torch.zeros(20)}, rf"of another shape: {TENSOR} \(20,\) for \(19,\)"),
        ({TENSOR: torch.full((19,), torch.inf)}, f"not finite: {TENSOR}"),
        ({"extra": torch.zeros(2)}, "unexpected: extra"),
    ],
)
def test_a_folder_of_other_weights_is_refused(tmp_path, tensors, message):
    folder = semantic_folder(tmp_path / "segformer", "segformer")
    change(folder, **tensors)
    with pytest.raises(OSError, match=rf"safetensors: not the weights of the Segformer.*{message}"):
        load_semantic(folder, "cityscapes")


def test_labels_other_than_the_vocabulary_are_refused(tmp_path):
    folder = semantic_folder(tmp_path / "segformer", "segformer", "mapillary_vistas")
    message = "0 of the network is 'Bird', .* cityscapes 'road'; set vocabulary to mapillary_vistas"
    with pytest.raises(ValueError, match=message):
        load_semantic(folder, "cityscapes")
    assert load_semantic(folder, "mapillary_vistas").vocabulary == "mapillary_vistas"
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["id2label"] = {k: v.lower() for k, v in config["id2label"].items() if k != "64"}
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="label 64 of the network is nothing, .*; no vocabulary"):
        load_semantic(folder, "mapillary_vistas")


@pytest.mark.parametrize(
    ("name", "change_config", "message"),
    [
        (
            "config.json",
            {"architectures": ["UperNetForSemanticSegmentation"]},
            "'UperNet.* not one of",
        ),
        ("config.json", {"architectures": None}, "the architecture None, not one of Mask2Former"),
        ("preprocessor_config.json", {"image_std": [1, 0, 1]}, "must be three numbers each"),
        ("preprocessor_config.json", {"image_mean": None}, "must be three numbers each"),
        ("preprocessor_config.json", {"image_mean": [123.7, 116.3, 103.5]}, "not scaled to 0–1"),
        ("preprocessor_config.json", {"rescale_factor": 1.0}, "not scaled to 0–1"),
        ("preprocessor_config.json", {"do_rescale": False}, "not scaled to 0–1"),
        ("preprocessor_config.json", {"do_normalize": False}, "not scaled to 0–1"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path, name, change_config, message):
    folder = semantic_folder(tmp_path / "segformer", "segformer")
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change_config))
    with pytest.raises(OSError, match=rf"{name}: .*{message}"):
        load_semantic(folder, "cityscapes")


def test_oneformer_needs_its_tokenizer(tmp_path):
    folder = semantic_folder(tmp_path / "oneformer", "oneformer")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(OSError, match=r"no complete OneFormer, tokenizer\.json or vocab\.json and"):
        load_semantic(folder, "cityscapes")


def test_an_output_that_is_not_finite_names_the_image(folders, tmp_path):
    network = segmenter(folders["segformer"])
    network.network.decode_head.classifier.bias[3] = torch.nan
    shard = write_shard(tmp_path / "images.h5", [encoded(picture(40, 50))])
    with pytest.raises(
        NotFinite, match="image 0: the output of the semantic network is not finite"
    ):
        segment_shard(shard, tmp_path / "segments.h5", network, None)


def test_a_shard_is_named_once(folders, tmp_path):
    shard = write_shard(tmp_path / "images.h5", [encoded(picture(40, 50))])
    named = segmenter(folders["segformer"])
    assert segment_shard(shard, tmp_path / "segments.h5", named, None) == 1
    with pytest.raises(ValueError, match="names its masks itself: set its classifier to null"):
        segment_shard(shard, tmp_path / "segments.h5", named, "a classifier")
    named.vocabulary = None
    with pytest.raises(ValueError, match="names no masks: give it a classifier"):
        segment_shard(shard, tmp_path / "segments.h5", named, None)
