"""Each experiment runs to its Table 1 on a tiny world. `make test-experiments` runs it.

The networks that an experiment downloads are replaced by small ones of the same architecture with
random weights, so the numbers mean nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT
from tests.workflow.test_workflow import SMALL, make_workdir, run_snakemake

pytestmark = pytest.mark.skipif(
    not os.environ.get("TEST_EXPERIMENTS"), reason="make test-experiments runs it"
)
EXPERIMENTS = sorted((ROOT / "config/experiments").glob("*.yaml"))
STUDY_ROWS = 7
# What each experiment adds to the rows of the demo, and settings that make it small.
ROWS = {
    "across_sources": 0, "banerjee": 0, "by_place": 0, "competitors": 3, "contrastive": 3,
    "controls": 8,
    "imagenet_input": 3, "planet": 3, "seeds": 0, "street_segmenters": 15, "yuan": 2,
}  # fmt: skip
SMALLER = {
    "across_sources": {
        "test_sets": {
            "streetview": {
                "path": "resources/demo/streetview",
                "images": ".",
                "table": "coordinates.csv",
                "retrieve": None,
            },
        },
    },
    "contrastive": {"models": {"contrastive": {"epochs": 1}}},
    "planet": {"models": {"planet": {"maximum_images": 20, "minimum_images": 3}}},
    "seeds": {"seeds": [42, 43], "models": {"transfer": None}},
    "competitors": {"models": {"geoclip": {"path": "resources/weights/clip"}}},
    "street_segmenters": {"models": {"transfer": None}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A finished run on a small world."""
    folder = make_workdir(tmp_path_factory.mktemp("experiments"))
    shutil.copy(ROOT / "demo/selected_classes.txt", folder / "config/small_classes.txt")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    run_snakemake(folder, "--configfile", "config/demo.yaml", "small.yaml")
    return folder


def write_small_networks(folder: Path, name: str) -> None:
    """What the experiment would download, as small networks."""
    from tests.coordinates.test_geoclip import write_clip
    from tests.small_segmenters import sam2, semantic_folder

    entries = yaml.safe_load((ROOT / f"config/experiments/{name}.yaml").read_text())
    weights = folder / "resources/weights"
    if name == "competitors":
        write_clip(weights / "clip", 768)
        for entry in entries["models"].values():
            if "path" in entry:
                write_clip(folder / entry["path"], 32)
    if name == "street_segmenters":
        for entry in entries["segmentations"].values():
            target = folder / entry["path"]
            if entry["kind"] == "sam2":
                network, processor = sam2()
                network.save_pretrained(target)
                processor.save_pretrained(target)
            else:
                architecture = target.name.partition("-")[0].partition("_")[0]
                semantic_folder(target, architecture, entry["vocabulary"])
        classifier = entries["segmentations"]["sam2"]["classifier"]["weights"]
        import torch
        from torchvision.models import resnet50

        torch.manual_seed(0)
        torch.save(resnet50().state_dict(), folder / classifier)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=[path.stem for path in EXPERIMENTS])
def test_an_experiment_runs_to_its_table_1(world, tmp_path, path):
    name = path.stem
    folder = tmp_path / "run"
    shutil.copytree(world, folder, symlinks=True)
    write_small_networks(folder, name)
    overlay = yaml.safe_load(path.read_text(encoding="utf-8"))
    (folder / "own.yaml").write_text(yaml.safe_dump(SMALLER.get(name, {})))
    files = ["config/demo.yaml", "small.yaml", f"config/experiments/{path.name}", "own.yaml"]
    run = overlay.get("run", "small")
    run_snakemake(folder, "--configfile", *files)
    results = folder / "results" / run
    table = pd.read_csv(results / "table1.csv", dtype=str)
    removed = 3 * ("transfer" in SMALLER.get(name, {}).get("models", {}))
    assert len(table) == STUDY_ROWS + ROWS[name] - removed
    assert table.iloc[:, 2:].notna().all(axis=None)
    verified = subprocess.run(
        [sys.executable, "-m", "geoloc", "verify", str(results)],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout[-3000:]


def test_every_experiment_is_run():
    assert [path.stem for path in EXPERIMENTS] == sorted(ROWS)
