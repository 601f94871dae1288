"""The record next to a trained model says whose it is and knows its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geoloc.matrix import Row
from geoloc.model_record import check_row, file_digests, read_record

ROW = Row("cnn", "original", "42")


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "model.keras").write_bytes(b"weights")
    record = {"classes": ["DE", "FR"], "dataset": "original", "seed": 42, "entry": "cnn"}
    record |= {"view": {"curve": "none"}, "files": file_digests(tmp_path)}
    (tmp_path / "classes.json").write_text(json.dumps(record))
    return tmp_path


def test_the_model_of_a_training_is_read(folder):
    assert read_record(folder).classes == ["DE", "FR"]
    check_row(folder, ROW)


@pytest.mark.parametrize("content", [b"other weights", None], ids=["changed", "missing"])
def test_weights_that_the_training_did_not_write_are_refused(folder, content):
    (folder / "model.keras").unlink()
    if content:
        (folder / "model.keras").write_bytes(content)
    with pytest.raises(OSError, match=f"{folder}: no complete model.*model.keras.*train it again"):
        read_record(folder)


@pytest.mark.parametrize("files", ["x", ["model.keras"], 7])
def test_a_record_of_damaged_digests_is_refused(folder, files):
    record = json.loads((folder / "classes.json").read_text()) | {"files": files}
    (folder / "classes.json").write_text(json.dumps(record))
    with pytest.raises(OSError, match="no complete model.*train it again"):
        read_record(folder)


@pytest.mark.parametrize(
    "row", [("transfer", *ROW[1:]), ("cnn", "people", "42"), (*ROW[:2], "43")], ids="/".join
)
def test_the_model_of_another_row_is_named(folder, row):
    message = f"{folder} holds the model cnn/original/42, not {'/'.join(row)}; delete it"
    with pytest.raises(OSError, match=message):
        check_row(folder, Row(*row))


def test_a_model_that_is_not_trained_here_is_of_any_row(tmp_path):
    check_row(tmp_path, Row("clip", "default", "any"))


def test_records_of_earlier_versions_name_no_files_and_no_entry(folder):
    record = json.loads((folder / "classes.json").read_text())
    del record["files"], record["entry"], record["seed"]
    (folder / "classes.json").write_text(json.dumps(record))
    check_row(folder, Row("transfer", "original", "7"))


def test_a_model_of_images_that_were_shown_otherwise_is_refused(folder):
    """As when a dataset was changed and its models were kept."""
    check_row(folder, ROW, {"curve": "none"})
    linear = {"curve": "linear", "scores": "objects"}
    message = (
        r"other settings of the dataset original \(curve, fill, invert, scores, scores_of\); del"
    )
    with pytest.raises(OSError, match=message):
        check_row(folder, ROW, linear)
    record = json.loads((folder / "classes.json").read_text()) | {"view": linear}
    (folder / "classes.json").write_text(json.dumps(record))
    check_row(folder, ROW, linear)
    with pytest.raises(OSError, match=r"\(invert\)"):
        check_row(folder, ROW, linear | {"invert": True})
