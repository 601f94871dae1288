"""The page says what the tables say, and shows text of a run as text."""

from __future__ import annotations

import dataclasses
import json
import re

import pandas as pd
import pytest

from geoloc.config import default_config
from geoloc.corpus.download import load_weights
from geoloc.errors import FileError
from geoloc.evaluation.verdict import verdict
from geoloc.report.page import duration, number, render
from geoloc.report.tables import Run
from tests.conftest import ROOT
from tests.report.small_results import COUNTRIES, SCHEMA, configuration, write_results


def page(run: Run) -> str:
    """The page of a run of `write_results`."""
    index = run.files["table1"].parent / "index/images.parquet"
    return render(run, default_config(SCHEMA), index, load_weights(ROOT / "config/weights.yaml"))


def plain(html: str) -> str:
    """Text of a page, with one space where there is any."""
    text = re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)
    return re.sub(r"(?:\s|&nbsp;)+", " ", text)


def cells(html: str, table: str) -> list[list[str]]:
    """Rows of the table with some text in its tag or caption."""
    found = next(t for t in re.findall(r"<table.*?</table>", html, re.DOTALL) if table in t)
    return [
        [plain(cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", found, re.DOTALL)
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    return write_results(tmp_path_factory.mktemp("run") / "small", compared=True)


@pytest.fixture(scope="module")
def html(run) -> str:
    return page(run)


def without(run: Run, *names: str, **changes) -> Run:
    files = {name: path for name, path in run.files.items() if name not in names}
    return dataclasses.replace(run, files=files, **changes)


def test_the_verdict_is_that_of_the_answers(run, html):
    records = json.loads(run.files["records"].read_text())
    first = plain(html)
    assert "Does it help to show a country classifier only the telling objects?" in first
    assert verdict(records).replace("'", "&#39;") in first


def test_table_1_has_the_cells_of_the_csv_with_intervals_baselines_and_published_values(run, html):
    table = pd.read_csv(run.files["table1"], dtype=str)
    metrics = run.table("metrics")
    shown = {row[0]: row[1:] for row in cells(html, 'class="table1"') if len(row) > 1}
    assert [cell.split()[0] for cell in shown["Default"]] == table.iloc[
        table["Model"].tolist().index("StreetCLIP"), 2:
    ].tolist()
    first = metrics[(metrics.model == "clip") & (metrics.test_set == "original")].iloc[0]
    interval = f"{100 * first.accuracy_low:.1f}–{100 * first.accuracy_high:.1f}"
    assert interval in shown["Default"][0]
    assert "published 71.45" in shown["Default"][0]
    baseline = metrics.groupby("test_set").majority_baseline.first()
    assert shown["Baseline: always United States"][0] == f"{100 * baseline['original']:.2f}"
    assert len([row for row in cells(html, 'class="table1"') if len(row) > 1]) == len(table) + 2


def test_a_cell_is_marked_where_its_interval_reaches_the_baseline(run, html):
    metrics = run.table("metrics")
    low = metrics.accuracy_low_by_author.fillna(metrics.accuracy_low)
    columns = metrics.test_set.isin(list(run.columns))
    expected = int(((low <= metrics.majority_baseline) & columns).sum())
    (table,) = re.findall(r'<table class="table1".*?</table>', html, re.DOTALL)
    assert 0 < expected == table.count("not above baseline")
    assert f"holds for {expected} of {columns.sum()} cells" in plain(html)


def test_published_values_are_shown_only_next_to_a_run_of_the_study(run):
    html = page(without(run, "comparison", differences=["index.min_images"]))
    assert "published 71.45" not in html
    assert "differs from the study’s in 1 key " in plain(html)
    assert ["index.min_images", "75", "75"] in cells(html, "Keys that differ")
    assert "has no model of the study" in plain(page(without(run, "comparison", differences=[])))


def test_published_training_is_drawn_next_to_that_of_a_run_of_the_study(run, html):
    """Of the six published trainings; a row of the run's own dataset has none."""
    trainings = [row for row in run.histories if row.dataset != "other"]
    assert html.count('class="val other"') == 2 * len(trainings) == 12  # accuracy and loss
    text = plain(html)
    assert "published: 43.0 % after epoch 19 of 25" in text  # CNN, Original
    assert "Thin gray lines: the published training" in text
    elsewhere = page(without(run, "comparison", differences=["index.min_images"]))
    assert 'class="val other"' not in elsewhere
    assert "Thin gray lines" not in elsewhere


def test_every_answer_has_its_numbers_and_a_line_in_a_plot(run, html):
    records = json.loads(run.files["records"].read_text())
    assert html.count('class="dot"') == len(records)
    text = plain(html)
    for record in records:
        estimate = f"{100 * record['estimate']:+.1f}" if record["p_value"] is not None else ""
        assert estimate.replace("-", "−") in text


def test_countries_have_their_accuracy_and_interval_namibia_too(run, html):
    table = run.table("by_country", dtype={"seed": str})
    own = table.query("model == 'transfer' and dataset == 'original' and test_set == 'original'")
    rows = {row[0]: row for row in cells(html, ">Region<") if len(row) > 1}
    assert len(rows) - 1 == len(own) == len(COUNTRIES)
    namibia = own.set_index("country").loc["NA"]
    expected = [str(int(namibia.n)), f"{namibia.right:g}", f"{100 * namibia.accuracy:.1f}"]
    assert rows["Namibia NA"][2:5] == expected
    assert rows["Namibia NA"][1] == "Southern Africa"
    assert f"<title>Namibia: {expected[2]} % of {expected[0]}</title>" in html
    assert len(re.findall(r'<circle class="b\d', html)) == 1  # Singapore


def test_distances_stand_next_to_published_ones(run, html):
    rows = {row[0]: row for row in cells(html, "Within 1 km")}
    assert rows["PlaNet"][3:9] == ["2,997", "–", "24.8", "34.3", "48.4", "64.6"]
    table = run.table("distances").query("source == 'this run' and trained_on == 'Default'")
    assert rows["StreetCLIP"][4] == f"{100 * table.within_1_km.iloc[0]:.1f}"


def test_licenses_of_data_and_weights_are_named(html):
    rows = {row[0]: row[1:] for row in cells(html, "Data or weights")}
    assert rows["Images of geoguessr"][1].startswith("https://www.kaggle.com/datasets/")
    assert rows["Weights of such.pth"] == ["not known to this project", "–"]


def test_text_of_a_run_is_escaped(html):
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert '<b>"wide"' not in html
    assert "CNN &lt;b&gt;&#34;wide&#34;&lt;/b&gt; &amp; &#39;deep&#39;" in html


def test_stages_and_devices_come_from_benchmarks_and_logs(html):
    rows = cells(html, "Time and memory by stage")
    assert rows[1] == ["train.cnn", "1", "2 h 1 min", "–", "254"]
    assert rows[2][:3] == ["index", "1", "3.5 s"]
    text = plain(html)
    assert "TensorFlow computes on the CPU" in text
    assert "Machines of the jobs AMD EPYC, machine of 62.5 GiB" in " ".join(text.split())
    assert "node7" not in text
    assert "tensorflow 2.21.0" in text
    assert "with changes that are not committed" in text


def test_a_run_without_optional_files_has_no_empty_sections(run):
    config = configuration()
    html = page(without(run, "comparison", "examples/objects", histories={}))
    assert 'id="examples"' not in html
    assert 'id="training"' not in html
    assert config["run"] in html


def test_seeds_are_named_with_their_spread(tmp_path):
    config = configuration(seeds=[1, 2])
    models = {"cnn": config["models"]["cnn"]}
    html = page(write_results(tmp_path / "run", config | {"models": models}))
    text = plain(html)
    assert "mean of 2 seeds" in text
    assert re.search(r"SD \d+\.\d", text)
    assert "luck of training" not in text.partition("Answers")[2]
    assert "how much another training would differ" not in text


def test_nothing_is_loaded_from_elsewhere(html):
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", html)
    assert "url(" not in html


def test_the_same_tables_give_the_same_page(run, html):
    assert page(run) == html


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics", "model,dataset\n", "no column"),
        ("countries", "", "No columns to parse"),
        ("metrics", "model,dataset\ncnn,orig", "its last line has no end"),
        ("records", "[{}]", "holds no answers"),
        ("records", "[", "is damaged"),
    ],
)
def test_a_damaged_table_is_named(run, tmp_path, name: str, content: str, message: str):
    broken = tmp_path / f"{name}.txt"
    broken.write_text(content)
    changed = dataclasses.replace(run, files={**run.files, name: broken})
    with pytest.raises(FileError, match=message) as error:
        page(changed)
    assert str(broken) in str(error.value)


def test_a_row_that_is_not_configured_is_named(run, tmp_path):
    other = tmp_path / "table1.csv"
    text = run.files["table1"].read_text()
    other.write_text(text.replace("StreetCLIP", "Some CLIP"))
    changed = dataclasses.replace(run, files={**run.files, "table1": other})
    with pytest.raises(FileError, match="Some CLIP / Default"):
        page(changed)


def test_durations_and_numbers_are_readable():
    assert [duration(s) for s in (0.42, 59.7, 185, 7800, None)] == [
        "0.4 s", "1 min 0 s", "3 min 5 s", "2 h 10 min", "–"
    ]  # fmt: skip
    assert [number(v) for v in (12345.6, float("inf"), float("nan"))] == ["12,346", "∞", "–"]
    assert number(-0.204, 2) == "−0.20"
