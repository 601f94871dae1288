"""What others read first: the page of the catalog, the citation, the workflows of the host."""

from __future__ import annotations

import re

import pytest
import yaml

from geoloc.config import load_schema
from tests.conftest import ROOT


def load(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_page_of_the_catalog_explains_every_section_of_the_configuration():
    text = (ROOT / "config/README.md").read_text(encoding="utf-8")
    table = text.partition("| key | sets |")[2].partition("\n\n")[0]
    schema = load_schema(ROOT / "config/config.schema.yaml")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(schema["properties"])
    kinds = text.partition("| `kind` | layout |")[2].partition("\n\n")[0]
    known = schema["$defs"]["source"]["properties"]["kind"]["enum"]
    assert re.findall(r"^\| `(\w+)` \|", kinds, re.MULTILINE) == known
    for path in re.findall(r"`((?:config|docs)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path


def test_the_catalog_knows_how_software_is_deployed():
    usage = load(".snakemake-workflow-catalog.yml")["usage"]
    assert usage["software-stack-deployment"] == {
        "conda": True,
        "apptainer": True,
        "apptainer+conda": False,
        "report": True,
    }
    assert usage["mandatory-flags"] == {"desc": None, "flags": None}


def test_the_citation_names_the_study():
    citation = load("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors", "version", "date-released"} <= citation.keys()
    (study,) = citation["references"]
    assert study["title"].startswith("Beyond the Image: A Study on Segmentation-based")
    assert [author["family-names"] for author in study["authors"]] == ["Singh"]


WORKFLOWS = {path.name: path for path in sorted((ROOT / ".github/workflows").glob("*.yml"))}


def steps(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_of_the_host_runs_what_ci_runs(name):
    workflow = load(f".github/workflows/{name}")
    assert (ROOT / ".ci/run").is_file()
    assert [step["run"] for step in steps(workflow) if ".ci" in step.get("run", "")] == [
        "bash .ci/run"
    ]
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"])
        if "setup-python" in step.get("uses", ""):
            assert step["with"]["python-version"] == "3.11"


def test_ci_runs_on_every_push_and_pull_request_and_every_week():
    events = {name: load(f".github/workflows/{name}")[True] for name in WORKFLOWS}  # YAML 1.1: on
    assert events["ci.yml"] == {"push": {"branches": ["main"]}, "pull_request": None}
    (time,) = events["weekly.yml"]["schedule"]
    minute, hour, day, month, weekday = time["cron"].split()
    assert (day, month, weekday.isdigit()) == ("*", "*", True)
