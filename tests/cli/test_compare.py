"""`geoloc compare`: two finished runs in words, numbers and a table."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pandas as pd
import pytest

from geoloc.cli.compare import different_keys
from geoloc.cli.main import main
from geoloc.config import write_config
from geoloc.matrix import rows
from tests.report.small_results import configuration, drawn, image_table


def write_run(folder: Path, config: dict, index: pd.DataFrame) -> Path:
    (folder / "index").mkdir(parents=True)
    index.to_parquet(folder / "index/images.parquet")
    street = index[index.collection == "street"]
    counts = street.groupby(["country", "split"]).size().unstack().reset_index()
    counts["images"] = counts[["train", "val", "test"]].sum(axis=1)
    counts.assign(name=counts.country, kept=True).to_csv(
        folder / "index/countries.csv", index=False
    )
    for row in rows(config):
        path = folder / f"predictions/{row.path}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(index, config, row).to_parquet(path)
    write_config(folder / "config.yaml", config)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """A run of both sources, and one of the first only."""
    folder, index = tmp_path_factory.mktemp("results"), image_table()
    config = configuration()
    config["models"] = {"cnn": config["models"]["cnn"] | {"title": "CNN"}}
    config["datasets"] = {"original": config["datasets"]["original"]}
    one = copy.deepcopy(config) | {"run": "one"}
    one["sources"]["streetview"] = None
    both = write_run(folder / "both", config, index)
    return write_run(folder / "one", one, index[index.source != "streetview"]), both


def test_two_runs_are_compared_in_words_and_as_a_table(runs, tmp_path, capsys):
    one, both = runs
    assert main(["compare", str(one), str(both), "--csv", str(tmp_path / "c.csv")]) == 0
    text = capsys.readouterr().out
    assert "The configurations differ in: sources.streetview.\n" in text
    table = pd.read_csv(tmp_path / "c.csv").set_index("key")
    index = image_table()
    tested = index[(index.split == "test") & (index.source == "geoguessr")]
    line = table.loc["same_images/cnn/original/original/original"]
    assert line.n == len(tested)
    street = index[(index.split == "test") & (index.collection == "street")]
    groups = table.loc["own_images/cnn/original/original"]
    assert groups.n == len(tested) + len(street)
    assert f"Accuracy in {one} minus that in {both}, in points" in text
    assert f"  unchanged street images: {line.n} images\n    CNN, Original  " in text
    block = text.partition("On all test images of each run")[2]
    assert f"unchanged street images: {groups.n} images\n    CNN, Original  " in block
    assert re.search(rf"CNN, Original +{re.escape(f'{100 * groups.estimate:+.1f}')}  \(", block)


def test_a_run_that_is_not_finished_is_an_error(runs, tmp_path, capsys):
    one, _ = runs
    assert main(["compare", str(one), str(tmp_path)]) == 2
    assert f"{tmp_path}/config.yaml: No such file" in capsys.readouterr().err
    write_config(tmp_path / "config.yaml", configuration())
    assert main(["compare", str(one), str(tmp_path)]) == 2
    assert "index/countries.csv does not exist; finish the run" in capsys.readouterr().err


def test_only_keys_that_change_results_are_named():
    one = configuration()
    other = copy.deepcopy(one) | {"run": "other"}
    other["index"]["split_by"] = "place"
    other["threads"]["train"] = 3
    assert different_keys(one, other) == ["index.split_by"]
