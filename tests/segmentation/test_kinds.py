"""An entry of `segmentations` with its defaults builds what it describes."""

import pytest
import yaml

from geoloc.config import SCHEMA, check_config, load_schema
from geoloc.segmentation.kinds import build_segmentation
from geoloc.segmentation.shard import segment_shard
from geoloc.stores import read_segments
from tests.conftest import ROOT
from tests.segmentation.test_shard import encoded, write_shard
from tests.small_sam import picture
from tests.small_segmenters import sam2, semantic_folder


def with_defaults(entry: dict) -> tuple[dict, dict]:
    """The entry as a job gets it, and its engine."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    config["segmentations"]["new"] = entry
    check_config(config, load_schema(ROOT / SCHEMA))
    entry = config["segmentations"]["new"]
    return entry, entry.pop("engine")


@pytest.fixture
def sam2_entry(tmp_path):
    for part in sam2():
        part.save_pretrained(tmp_path / "sam2")
    return {
        "kind": "sam2", "path": str(tmp_path / "sam2"), "points_per_side": 3,
        "pred_iou_thresh": 0.0, "stability_score_thresh": 0.2, "stability_score_offset": 0.05,
        "classifier": {"kind": "efficientnet_lite0"},
    }  # fmt: skip


def test_masks_of_sam2_are_named_by_a_classifier(sam2_entry, tmp_path):
    shard = write_shard(tmp_path / "images.h5", [encoded(picture(80, 60))])
    segment_shard(shard, tmp_path / "segments.h5", *build_segmentation(*with_defaults(sam2_entry)))
    (segments,) = read_segments(tmp_path / "segments.h5")
    assert len(segments) > 0
    named = segments.class_id[:, 0] >= 0
    assert named.any()
    assert (segments.class_id[named] >= 0).all()  # ten classes of ImageNet


def test_regions_of_a_semantic_network_have_one_class(tmp_path):
    folder = semantic_folder(tmp_path / "network", "mask2former", "mapillary_vistas")
    entry = {"kind": "semantic", "path": str(folder), "vocabulary": "mapillary_vistas"}
    shard = write_shard(tmp_path / "images.h5", [encoded(picture(80, 60))])
    settings, engine = with_defaults(entry)
    settings["image_size"] = 96
    segmenter, classifier = build_segmentation(settings, engine)
    assert classifier is None
    segment_shard(shard, tmp_path / "segments.h5", segmenter, classifier)
    (segments,) = read_segments(tmp_path / "segments.h5")
    assert (segments.class_id[:, 0] >= 0).all()
    assert (segments.class_id[:, 1:] == -1).all()
    assert (segments.area >= 100).all()


def test_defaults_of_the_schema_are_those_of_the_segmenters(sam2_entry, tmp_path):
    for key in ("points_per_side", "pred_iou_thresh", "stability_score_thresh",
                "stability_score_offset"):  # fmt: skip
        del sam2_entry[key]
    settings, _ = with_defaults(sam2_entry)
    assert (settings["points_per_side"], settings["pred_iou_thresh"]) == (32, 0.8)
    folder = semantic_folder(tmp_path / "network", "segformer")
    settings, engine = with_defaults(
        {"kind": "semantic", "path": str(folder), "vocabulary": "cityscapes"}
    )
    segmenter, _ = build_segmentation(settings, engine)
    assert (segmenter.image_size, segmenter.min_mask_region_area) == (640, 100)


def test_an_unknown_kind_is_told_with_the_known_ones():
    with pytest.raises(ValueError, match="'sam3'; use one of sam, sam2, semantic, python"):
        build_segmentation({"kind": "sam3"}, {})
