"""Checks of `geoloc verify` on what the finished run of `test_verify.py` does not have."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pandas as pd

from geoloc.countries.cells import Cells, CellsRecord, write_cells
from geoloc.matrix import Row
from geoloc.verify import Run
from geoloc.verify.models import load_apart, record_mistakes
from geoloc.verify.run import Shard
from geoloc.verify.shards import _other_settings, score_settings, segments_of_shard
from tests.small_stores import IDS, edit, write_small


def test_segments_of_another_size_than_score_maps_are_found(tmp_path):
    shard = Shard(tmp_path, "street", "FR", "0000")
    path = shard.path("segments/sam")
    path.parent.mkdir(parents=True)
    write_small(tmp_path, "segments").rename(path)
    rows = pd.DataFrame({"image_id": IDS})
    (finding,) = segments_of_shard(shard.name("segments/sam"), shard, "sam", rows, False)
    assert finding.path == "segments/sam/FR/0000.h5"
    assert f"{len(IDS)} ({IDS[0]}" in finding.problem
    assert "pixels, expected 640×640" in finding.problem


def test_segments_of_other_settings_than_most_are_a_warning(tmp_path):
    """They may be those of another segmentation of the same images."""
    shards = [Shard(tmp_path, "street", "FR", f"000{number}") for number in range(3)]
    for shard in shards:
        path = shard.path("segments/sam")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_small(tmp_path, "segments").rename(path)
    assert list(_other_settings("sam", shards)) == []
    other = shards[1].path("segments/sam")
    edit(other, lambda file: file.attrs.modify("config", "other"), fitting=True)
    (finding,) = _other_settings("sam", shards)
    assert (finding.path, finding.warning) == ("segments/sam/FR/0001.h5", True)
    assert "1 (segments/sam/FR/0001.h5): settings or weights differ" in finding.problem


def test_a_vocabulary_of_the_users_own_is_read_beside_the_run_from_any_folder(
    tmp_path, monkeypatch
):
    (tmp_path / "config").mkdir()
    (tmp_path / "config/names.txt").write_text("road\nsign\npole\n")
    (tmp_path / "config/selected.txt").write_text("pole\nsign\n")
    entry = {"segmentation": "own", "classes": "config/selected.txt", "minimum": 0.1,
             "merge": "maximum", "ambiguous_classes": "first_meaning"}  # fmt: skip
    own = {"kind": "python", "file": "own.py", "classes": "config/names.txt"}
    config = {"segmentations": {"own": own}, "scores": {"objects": entry}}
    monkeypatch.chdir("/")
    found = score_settings(Run(tmp_path / "results/study", configuration=config), "objects")
    assert found["selected"] == [1, 2]


def test_cells_of_other_countries_are_found(tmp_path):
    cells = Cells(["47c", "4b4"], np.array([[48.9, 2.4], [35.7, 139.7]]), np.array([5, 6]))
    write_cells(tmp_path, CellsRecord(cells, ["FR", "JP"], "nearest_city"))
    record = {"classes": cells.tokens, "model": "cnn", "dataset": "original", "seed": 1,
              "view": {"curve": "none"}, "parameters": {}}  # fmt: skip
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(record))
    config = {"models": {"cells": {"kind": "cells", "network": "cnn"}}, "train": {},
              "datasets": {"original": {"curve": "none"}}}  # fmt: skip

    def mistakes(*classes):
        run = Run(tmp_path, configuration=config, tables={"classes": list(classes)})
        found = record_mistakes(run, Row("cells", "original", "1"), path)
        return [line for line in found if not line.startswith("view ")]

    assert mistakes("FR", "JP") == []
    assert mistakes("FR", "NA") == ['cells.json is of ["FR", "JP"], expected ["FR", "NA"]']


def test_a_process_that_loads_models_and_says_nothing_is_a_finding(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    problem = "the process that loads it ended without a result (exit status 0)"
    assert load_apart("keras", [{}, {}]) == [problem, problem]
