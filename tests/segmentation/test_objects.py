"""The crop of the best object: which segment it is, and what the stores and tables hold."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from geoloc.images import resize_nearest
from geoloc.segmentation import rle
from geoloc.segmentation.objects import best_object, pack_crops
from geoloc.stores import (
    StoreError,
    dataset_arrays,
    open_score_maps,
    read_boxes,
    score_key,
    write_boxes,
    write_images,
    write_segments,
)
from geoloc.types import Box, Segments
from geoloc.weighting import View
from tests.script_runs import recorded, run_script

SIDE = 640
SIGN, POLE, SKY = 919, 733, 5
CROP = View(view="object", scores="objects")


def segments(image_id: str, *found: tuple[tuple[int, int, int, int], int, float]) -> Segments:
    """Rectangles (left, top, width, height) with the class and probability of each."""
    counts = [
        rle.encode(np.ones((width, height), bool), left, top, (SIDE, SIDE))
        for (left, top, width, height), _, _ in found
    ]
    m = len(found)
    class_id = np.full((m, 10), -1, np.int16)
    probability = np.zeros((m, 10), np.float32)
    for row, (_, name, share) in enumerate(found):
        class_id[row, 0], probability[row, 0] = name, share
    return Segments(
        image_id, (SIDE, SIDE), np.array([box for box, _, _ in found], np.int32).reshape(m, 4),
        np.array([rle.area(runs) for runs in counts], np.int32), np.ones(m, np.float32),
        np.ones(m, np.float32), counts, class_id, probability,
    )  # fmt: skip


def test_the_object_is_the_segment_with_the_highest_score_of_a_selected_class():
    image = segments(
        "a",
        ((0, 0, 640, 300), SKY, 0.9),
        ((10, 20, 30, 40), SIGN, 0.5),
        ((300, 310, 20, 200), POLE, 0.7),
    )
    assert best_object(image, [POLE, SIGN]) == Box(300, 310, 20, 200, 70, POLE)
    assert best_object(image, [SIGN]) == Box(10, 20, 30, 40, 50, SIGN)
    assert best_object(image, [SIGN], minimum=0.6) is None
    assert best_object(segments("b"), [SIGN]) is None


def test_of_equal_scores_the_larger_segment_is_taken_then_the_first():
    small, large = ((0, 0, 10, 10), SIGN, 0.5), ((50, 50, 90, 90), SIGN, 0.5)
    twin = ((300, 300, 90, 90), SIGN, 0.5)
    assert best_object(segments("a", small, large, twin), [SIGN]).left == 50
    assert best_object(segments("a", twin, large), [SIGN]).left == 300


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A shard of three test images, of which the second has no object."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    rows = []
    for number, values in enumerate(pixels):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "PNG")
        rows.append({"image_id": f"s/{number}", "image": buffer.getvalue(), "split": "test",
                     "source": "s", "latitude": 0.0, "longitude": 0.0})  # fmt: skip
    write_images(folder / "i.h5", rows)
    found = [
        segments("s/0", ((10, 20, 300, 400), SIGN, 0.6)),
        segments("s/1", ((0, 0, 600, 300), SKY, 0.9)),
        segments("s/2", ((639, 0, 1, 640), POLE, 1.0)),
    ]
    write_segments(folder / "s.h5", found)
    selected = np.array([POLE, SIGN], np.int16)
    pack_crops(
        folder / "i.h5", folder / "s.h5", "NA", selected, 0.1, folder / "a.h5", folder / "b.csv"
    )
    return folder, pixels


def test_arrays_hold_the_crops_and_whole_images_where_nothing_scores(packed):
    folder, pixels = packed
    arrays = dataset_arrays([], {}, CROP, "test", None, 0, {"objects": [folder / "a.h5"]})
    assert arrays.label.tolist() == ["NA"] * 3
    images, score = arrays.read(np.arange(3))
    expected = [pixels[0, 20:420, 10:310], pixels[1], pixels[2, :, 639:]]
    for found, wanted in zip(CROP(images, score), expected, strict=True):
        np.testing.assert_array_equal(found, resize_nearest(wanted, 224))


def test_boxes_say_what_is_shown_and_cut_the_same_from_full_size_images(packed):
    folder, pixels = packed
    assert read_boxes([folder / "b.csv"]) == {
        "s/0": Box(10, 20, 300, 400, 60, SIGN),
        "s/1": None,
        "s/2": Box(639, 0, 1, 640, 100, POLE),
    }
    boxes = {"objects": [folder / "b.csv"]}
    found = open_score_maps(None, [folder / "i.h5"], {}, [CROP], None, 0, boxes)[score_key(CROP)]
    np.testing.assert_array_equal(found["s/0"].crop(pixels[0]), pixels[0, 20:420, 10:310])


def test_boxes_that_lack_an_image_or_name_it_twice_are_refused(packed, tmp_path):
    folder, _ = packed
    lines = (folder / "b.csv").read_text().splitlines(keepends=True)
    (tmp_path / "b.csv").write_text("".join(lines[:-1]))
    boxes = {"objects": [tmp_path / "b.csv"]}
    with pytest.raises(StoreError, match="no row for s/2; delete the files"):
        open_score_maps(None, [folder / "i.h5"], {}, [CROP], None, 0, boxes)
    (tmp_path / "b.csv").write_text("".join([*lines, lines[-1]]))
    with pytest.raises(OSError, match="s/2 has two boxes"):
        read_boxes(boxes["objects"])


def test_the_script_crops_to_the_objects_that_are_configured(packed, tmp_path, monkeypatch):
    folder, _ = packed
    inputs = {"images": folder / "i.h5", "segments": folder / "s.h5"}
    inputs["classes"] = tmp_path / "classes.txt"
    calls = recorded(monkeypatch, "geoloc.segmentation.objects.pack_crops")
    read = recorded(monkeypatch, "geoloc.segmentation.scoring.read_selected", lambda _: "selected")
    run_script(
        "pack_crops",
        input=inputs,
        output={"arrays": tmp_path / "a.h5", "boxes": tmp_path / "b.csv"},
        params={"ambiguous_classes": "every_meaning", "vocabulary": "imagenet", "minimum": 0.3,
                "index_folder": "the index"},
        wildcards={"country": "NA"},
    )  # fmt: skip
    assert [list(call.values()) for call in calls] == [[
        folder / "i.h5", folder / "s.h5", "NA", "selected", 0.3, tmp_path / "a.h5",
        tmp_path / "b.csv", "the index",
    ]]  # fmt: skip
    assert [list(call.values()) for call in read] == [
        [str(tmp_path / "classes.txt"), "every_meaning", "imagenet"]
    ]


def test_segments_of_other_images_are_refused(packed, tmp_path):
    folder, _ = packed
    write_segments(tmp_path / "s.h5", [segments("s/0"), segments("s/2")])
    with pytest.raises(StoreError, match=r"s\.h5 belongs to other images"):
        pack_crops(folder / "i.h5", tmp_path / "s.h5", "NA", np.array([SIGN]), 0.1,
                   tmp_path / "a.h5", tmp_path / "b.csv")  # fmt: skip
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(
    "line", ["a,1,2", "a,-1,0,5,5,50,3", "a,0,0,0,5,50,3", "a,0,0,700,5,50,3", "a,0,0,5,5,0,3",
             "a,0,0,5,5,x,3"]
)  # fmt: skip
def test_a_damaged_table_of_boxes_is_named(tmp_path, line):
    write_boxes(tmp_path / "b.csv", {"a": None})
    header = (tmp_path / "b.csv").read_text().splitlines()[0]
    (tmp_path / "b.csv").write_text(f"{header}\n{line}\n")
    with pytest.raises(OSError, match=r"b\.csv is damaged"):
        read_boxes([tmp_path / "b.csv"])
