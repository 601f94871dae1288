"""`make bench-scale` at a small size."""

from __future__ import annotations

import json

import pytest
from bench import scale
from bench.processes import peak_memory, reset_peak_memory


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Run cases on a few images; returns what they wrote, by case and metric.

    In this process: to start one for each part would take most of the time.
    """
    monkeypatch.setattr(scale, "in_process", lambda function, *arguments: function(*arguments))

    def run(*cases: str) -> dict[str, dict]:
        scale.main(
            ["--cases", *cases, "--images", "3000", "--study", "900", "--results", str(tmp_path)]
        )
        found: dict[str, dict] = {}
        for row in json.loads((tmp_path / "scale.json").read_text()):
            found.setdefault(row["case"], {})[row["metric"]] = row["value"]
        return found

    return run


def test_an_index_and_its_leakage_are_measured_without_any_data(measured):
    reset_peak_memory()
    before = 1024 * peak_memory()  # of this process, whatever other tests left in it
    found = measured("index", "leakage", "exact")
    assert list(found) == [
        "index of 3,000 images",
        "leakage of 3,000 images",
        "leakage of 900 images, by index and by all pairs",
    ]
    for case in list(found)[:2]:
        assert 0 < found[case]["CPU, seconds"] < 60
        assert before / 2 < found[case]["peak memory, MiB"] < before + 1000
    assert found["leakage of 900 images, by index and by all pairs"] == {"different rows": 0}


def test_a_larger_corpus_is_planned_without_any_data(measured):
    """A hundred times 900 images in shards of 5,000: those of one country in five."""
    (found,) = measured("larger").values()
    assert found["jobs"] > 300
    assert found["peak memory, MiB"] < 1000
