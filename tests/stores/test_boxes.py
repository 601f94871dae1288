"""Tables of crop boxes: a box that is none of the image is refused with the file's name."""

from __future__ import annotations

import pytest

from geoloc.errors import FileError
from geoloc.stores.boxes import COLUMNS, read_boxes, write_boxes
from geoloc.types import SCORE_SIZE, Box

WHOLE = Box(left=0, top=0, width=SCORE_SIZE, height=SCORE_SIZE, score=100, class_id=0)
SMALLEST = Box(left=SCORE_SIZE - 1, top=0, width=1, height=1, score=1, class_id=999)


def test_boxes_up_to_the_edges_come_back(tmp_path):
    boxes = {"s/a.jpg": WHOLE, "s/b.jpg": None, "s/c.jpg": SMALLEST}
    write_boxes(tmp_path / "b.csv", boxes)
    assert read_boxes([tmp_path / "b.csv"]) == boxes


@pytest.mark.parametrize(
    "wrong",
    [
        {"left": -1}, {"top": -1}, {"left": 1}, {"top": 1}, {"width": 0}, {"height": 0},
        {"width": SCORE_SIZE + 1}, {"score": 0}, {"score": 101}, {"class_id": -1},
        {"height": "x"}, {"left": ""},
    ],
)  # fmt: skip
def test_a_box_that_is_none_of_the_image_is_refused(tmp_path, wrong):
    path = tmp_path / "b.csv"
    values = dict(zip(COLUMNS, ("s/a.jpg", *vars(WHOLE).values()), strict=True)) | wrong
    path.write_text(f"{','.join(COLUMNS)}\n{','.join(map(str, values.values()))}\n")
    with pytest.raises(FileError, match=r"b\.csv is damaged .*; delete it and run snakemake"):
        read_boxes([path])
