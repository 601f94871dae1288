"""Lists of shards: what they notice of the files that they name."""

from __future__ import annotations

import os
import shutil

import pytest

from geoloc.errors import FileError, GeolocError
from geoloc.shard_lists import complete_of, forget_incomplete
from geoloc.stores import StoreError, read_lists, write_boxes, write_list
from tests.script_runs import run_script
from tests.small_stores import write_small


@pytest.fixture
def listed(tmp_path):
    """Two stores and a table of boxes of a run, and their list."""
    shards = [tmp_path / "run/scores/objects" / name for name in ("FR/0000.h5", "NA/0000.h5")]
    for shard in shards:
        shard.parent.mkdir(parents=True)
        shutil.move(write_small(tmp_path, "scores"), shard)
    boxes = shards[0].with_suffix(".csv")
    write_boxes(boxes, {"a": None})
    path = tmp_path / "run/lists/scores/objects.csv"
    path.parent.mkdir(parents=True)
    write_list(path, [*shards, boxes])
    return path, shards, boxes


def test_listed_files_are_read_in_their_order_and_by_their_suffix(listed):
    path, shards, boxes = listed
    both = [path, complete_of(path)]
    assert read_lists(both) == list(map(str, shards))
    assert read_lists(both, ".csv") == [str(boxes)]
    assert read_lists([]) == []


def test_the_job_lists_its_shards_and_marks_the_list_as_complete(listed):
    path, shards, boxes = listed
    before = path.read_bytes(), complete_of(path).read_bytes()
    path.unlink()
    complete_of(path).unlink()
    run_script("list_shards", input={"shards": [*shards, boxes]}, output={"table": path})
    assert (path.read_bytes(), complete_of(path).read_bytes()) == before


def test_a_run_may_be_moved_with_its_lists(listed, tmp_path):
    path, shards, _ = listed
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    expected = [str(moved / shard.relative_to(tmp_path / "run")) for shard in shards]
    assert read_lists([moved / path.relative_to(tmp_path / "run")]) == expected


def test_the_same_content_gives_the_same_list_whenever_it_was_written(listed, tmp_path):
    path, shards, boxes = listed
    before = path.read_bytes(), complete_of(path).read_bytes()
    shutil.move(write_small(tmp_path, "scores"), shards[0])
    write_list(path, [*shards, boxes])
    assert (path.read_bytes(), complete_of(path).read_bytes()) == before


def test_a_store_of_other_content_is_not_the_listed_one(listed, tmp_path):
    path, shards, _ = listed
    shutil.move(write_small(tmp_path, "segments"), shards[1])
    with pytest.raises(StoreError, match=r"NA/0000\.h5 is not the file .*; delete .*objects\.csv"):
        read_lists([path])


def test_a_changed_table_is_not_the_listed_one(listed):
    path, shards, boxes = listed
    write_boxes(boxes, {"b": None})
    assert read_lists([path]) == list(map(str, shards))
    with pytest.raises(StoreError, match=r"FR/0000\.csv is not the file"):
        read_lists([path], ".csv")


def test_missing_and_damaged_files_are_named(listed):
    path, shards, boxes = listed
    boxes.unlink()
    with pytest.raises(StoreError, match=r"FR/0000\.csv does not exist; run snakemake"):
        read_lists([path], ".csv")
    shards[0].write_bytes(b"no store")
    with pytest.raises(StoreError, match=r"FR/0000\.h5 is damaged"):
        read_lists([path])
    shards[0].unlink()
    with pytest.raises(StoreError, match=r"FR/0000\.h5 does not exist; run snakemake"):
        read_lists([path])
    path.write_text("path,bytes\n")
    with pytest.raises(GeolocError, match=r"objects\.csv is damaged \(no column digest\)"):
        read_lists([path])


def test_a_list_that_lost_a_line_is_not_the_marked_one(listed):
    path, _, _ = listed
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(StoreError, match=r"objects\.csv is not the list that .*; delete both"):
        read_lists([path])
    write_list(path, [])
    assert read_lists([path]) == []
    complete_of(path).unlink()
    with pytest.raises(StoreError, match="is not the list"):
        read_lists([path])


def test_a_mark_that_can_not_be_removed_is_named(listed):
    path, shards, _ = listed
    os.remove(shards[1])
    complete_of(path).unlink()
    complete_of(path).mkdir()  # not removed by unlink, whoever asks
    with pytest.raises(FileError, match=r"objects\.complete can't be removed .*; ask the owner"):
        forget_incomplete(path.parents[1])


def test_only_lists_of_a_missing_file_lose_their_mark_and_no_list_is_removed(listed):
    path, shards, _ = listed
    forget_incomplete(path.parents[1])
    assert complete_of(path).exists()
    os.remove(shards[1])
    forget_incomplete(path.parents[1])
    assert path.exists()
    assert not complete_of(path).exists()
