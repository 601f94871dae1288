"""The library as a package: what a wheel holds, and which version it says it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml

import geoloc
from tests.conftest import ROOT

# Outside the checkout: every table of the library is read.
CODE = """
import geoloc
from geoloc.countries.geocoding import country_of_coordinates
from geoloc.countries.names import country_of_name
from geoloc.evaluation.table1 import published
from geoloc.segmentation.vocabularies import TITLES, vocabulary

assert "site" in geoloc.__file__, geoloc.__file__
assert country_of_name("Ivory Coast") == "CI"
assert country_of_coordinates([48.85], [2.35], "country_polygon").tolist() == ["FR"]
assert [len(vocabulary(name)) for name in TITLES] == [1000, 19, 65, 15]
assert len(published()) == 7

from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

assert LoggerPluginRegistry().is_installed("geoloc")
"""


def test_a_wheel_holds_all_data_of_the_library(tmp_path):
    source = tmp_path / "source"  # building leaves files behind
    shutil.copytree(ROOT / "scripts", source / "scripts")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    build = [sys.executable, "-m", "pip", "wheel", *options, "-w", tmp_path, source]
    subprocess.run(build, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"geoloc-{geoloc.__version__}-")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")
        packed = {name for name in file.namelist() if name.startswith("geoloc/")}
    tracked = ["git", "ls-files", "scripts/geoloc"]
    files = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {Path(name).relative_to("scripts").as_posix() for name in files.stdout.splitlines()}
    assert ours <= packed
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PYTHONNOUSERSITE": "1"}
    subprocess.run([sys.executable, "-c", CODE], check=True, cwd=tmp_path, env=environment)


def test_the_citation_names_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == geoloc.__version__
