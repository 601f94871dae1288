"""What others read first: the page of the catalog, the citation, the workflows of the host."""

from __future__ import annotations

import re

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
        "conda": True, "apptainer": True, "apptainer+conda": False, "report": True,
    }  # fmt: skip
    assert usage["mandatory-flags"] == {"desc": None, "flags": None}


def test_the_citation_names_the_study():
    citation = load("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"title", "message", "authors", "version", "date-released"} <= citation.keys()
    (study,) = citation["references"]
    assert study["title"].startswith("Beyond the Image: A Study on Segmentation-based")
    assert [author["family-names"] for author in study["authors"]] == ["Singh"]
