"""Another workflow uses this one as a Snakemake module, from a folder of its own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml
from PIL import Image
from snakemake.utils import update_config

from tests.conftest import ROOT
from tests.workflow.test_workflow import planned_jobs, run_snakemake

MODULE = f"""
module {{name}}:
    snakefile:
        "{ROOT / "Snakefile"}"
    config:
        config
    {{prefix}}

use rule * from {{name}} as {{name}}_*
"""
COUNTRIES = ("France", "Namibia")


def outer(folder: Path, *modules: str, config: str = "config.yaml") -> Path:
    """A workflow with modules called `modules`, below a prefix of the same name where there is a
    dash before it."""
    lines = [f'configfile: "{config}"']
    for module in modules:
        name = module.lstrip("-")
        prefix = f'prefix: "{name}"' if module.startswith("-") else ""
        lines.append(MODULE.format(name=name, prefix=prefix))
    lines.append(f"onstart:\n    {modules[0].lstrip('-')}.onstart()\n")
    (folder / "Snakefile").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with images of two countries, in `im{a}ges` and below a prefix, and a configuration
    that states only what has no default."""
    for top in ("im{a}ges", "near/im{a}ges"):
        for country in COUNTRIES:
            (tmp_path / top / country).mkdir(parents=True)
            for number in range(6):
                shade = 20 * number + len(country)
                Image.new("RGB", (32, 32), (shade, 0, 99)).save(
                    tmp_path / top / country / f"{number}.png"
                )
    source = {"kind": "country_folders", "path": "im{a}ges", "crop": "center", "size": 640}
    index = {"min_images": 5, "split": [0.6, 0.2, 0.2]}
    config = {"run": "mine", "sources": {"own": source}, "index": index}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return tmp_path


def test_a_module_plans_the_whole_workflow(folder):
    jobs = planned_jobs(run_snakemake(outer(folder, "geo"), "-n", "geo_all"))
    assert jobs["geo_index"] == 1
    assert jobs["geo_train"] == 6


def test_a_module_with_a_prefix_runs_below_it(folder):
    run_snakemake(outer(folder, "-near"), "near_collect_quarantine")
    results = folder / "near/results/mine"
    with (results / "index/countries.csv").open(encoding="utf-8") as file:
        assert [row["country"] for row in csv.DictReader(file)] == ["FR", "NA"]
    assert (results / "quarantine.csv").is_file()
    assert (results / "config.yaml").is_file()
    assert not (folder / "results").exists()
    plan = run_snakemake(folder, "-n", "near_all")
    assert planned_jobs(plan)["near_segment"] == 2
    # The class list comes with the project, weights are fetched below the prefix.
    assert planned_jobs(plan)["near_retrieve_weights"] == 3


def test_two_modules_share_a_configuration(folder):
    (folder / "far").symlink_to(folder / "near")
    plan = run_snakemake(outer(folder, "-near", "-far"), "-n", "near_all", "far_all")
    assert planned_jobs(plan)["near_index"] == planned_jobs(plan)["far_index"] == 1


def test_the_demo_runs_as_a_module(folder):
    """A module has no keys but those given to it: the demo needs the study's below its own."""
    config, demo = (
        yaml.safe_load((ROOT / f"config/{name}.yaml").read_text(encoding="utf-8"))
        for name in ("config", "demo")
    )
    update_config(config, demo)
    (folder / "demo.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    plan = run_snakemake(outer(folder, "-geo", config="demo.yaml"), "-n", "geo_all")
    assert planned_jobs(plan)["geo_make_demo_data"] == 1
    assert f"{ROOT}/demo/sam.safetensors" in plan
