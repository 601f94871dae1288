"""Every experiment that ships can be planned for the study and for the demo."""

from __future__ import annotations

import pytest
import yaml

from tests.conftest import ROOT
from tests.workflow.test_workflow import make_workdir, planned_jobs, run_snakemake

EXPERIMENTS = sorted(path.name for path in (ROOT / "config/experiments").glob("*.yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_workdir(tmp_path_factory.mktemp("experiments"))


@pytest.mark.parametrize("demo", [[], ["config/demo.yaml"]], ids=["study", "demo"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_planned_without_any_data(folder, name, demo):
    files = [*demo, f"config/experiments/{name}"]
    jobs = planned_jobs(run_snakemake(folder, "-n", "--configfile", *files))
    assert jobs["table1"] == jobs["metrics"] == jobs["answers"] == 1
    assert "table1_comparison" not in jobs or not demo


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_what_it_asks_and_what_its_result_means(name):
    lines = (ROOT / "config/experiments" / name).read_text(encoding="utf-8").splitlines()
    comment = [line for line in lines if line.startswith("#")]
    assert comment == lines[: len(comment)]
    assert "?" in comment[0]
    assert f"--configfile config/experiments/{name}" in lines[1] + lines[2]
    assert len(comment) >= 4
    assert yaml.safe_load("\n".join(lines))
