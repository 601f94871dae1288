"""What the scripts of the report do with each of their inputs and parameters."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from geoloc.config import default_config
from geoloc.corpus.sources import configured_sources, listing_digest
from geoloc.report.tables import Run, read_table
from tests.report.small_results import SCHEMA, write_results
from tests.script_runs import run_script
from tests.workflow.test_scripts_results import PARAMS, inputs, table
from tests.workflow.test_scripts_results import folder as folder  # noqa: PLC0414  a fixture

TABLES = ("table1", "metrics", "by_source", "by_country", "confusion", "answers", "records",
          "leakage", "quarantine", "countries")  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return write_results(tmp_path_factory.mktemp("run") / "small", compared=True)


def test_countries_and_confusions_are_of_all_rows(folder):
    output = {"accuracy": folder / "c.csv", "confusion": folder / "x.csv"}
    run_script("by_country", input=inputs(folder), output=output, params=PARAMS)
    accuracy = read_table(folder / "c.csv")
    own = accuracy.query("model == 'cnn' and dataset == 'original' and test_set == 'far'")
    assert dict(zip(own.country, own.right, strict=True)) == {"DE": 1, "FR": 1, "NA": 0}
    confusion = read_table(folder / "x.csv").query("dataset == 'default' and test_set == 'far'")
    right = confusion[confusion.label == confusion.answer]
    assert dict(zip(right.label, right.n, strict=True)) == {"FR": 4, "DE": 2}
    assert len(table({0})) == 4 * confusion.n.sum()


def test_the_record_is_of_the_run_whose_tables_are_given(run):
    folder = run.files["table1"].parent
    run_script(
        "run_record",
        input={"tables": [run.files["table1"], run.files["records"]]},
        output={"record": folder / "run.json"},
        params={"config": run.config, "code": {"commit": None, "clean": None},
                "weights": [], "differences": ["demo"]},
    )  # fmt: skip
    record = json.loads((folder / "run.json").read_text())
    assert list(record["tables"]) == ["table1.csv", "answers.json"]
    assert [stage["stage"] for stage in record["stages"]] == ["index", "train.cnn"]
    assert record["configuration"]["models"]["cnn"]["title"].startswith("CNN <b>")
    assert record["sources"] == {s.name: listing_digest(s) for s in configured_sources(run.config)}


def test_the_page_has_the_histories_examples_and_published_values_that_it_is_given(run):
    folder = run.files["table1"].parent
    (folder / "run.json").write_text(json.dumps(run.record))
    keras = {row: path for row, path in run.histories.items() if row.model == "cnn"}
    clips = {row: path for row, path in run.histories.items() if row.model == "transfer"}
    run_script(
        "report",
        input={
            **{name: run.files[name] for name in (*TABLES, "comparison")},
            "index": folder / "index/images.parquet",
            "histories": list(keras.values()),
            "clips": [path.parent for path in clips.values()],
            "examples": [run.files["examples/objects"]],
            "record": folder / "run.json",
        },
        output={"page": folder / "report.html"},
        params={
            "config": run.config,
            "study": default_config(SCHEMA),
            "tables": [*TABLES, "comparison"],
            "trained": [list(row) for row in [*keras, *clips]],
            "differences": [],
            "published_titles": dict(run.published_titles),
            "weights": {Path(path).name: {"license": "GPL-9"} for path in run.record["weights"]},
        },
    )
    page = Path(folder / "report.html").read_text()
    assert page.count("<h3>Trained on") == len(keras) + len(clips)
    assert "published 71.45" in page
    assert "GPL-9" in page
    assert "the score map “objects”" in page
    assert len(pd.read_csv(run.files["table1"])) == 9
