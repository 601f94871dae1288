"""The configuration knows the marks of the generator."""

import yaml

from geoloc.config import load_schema
from scenes import marks
from scenes.world import World
from tests.conftest import ROOT


def test_the_schema_has_the_generators_marks_worlds_and_countries():
    demo = load_schema(ROOT / "config/config.schema.yaml")["properties"]["demo"]["properties"]
    worlds, listed = demo["informative"]["anyOf"]
    assert set(worlds["enum"]) == set(marks.INFORMATIVE)
    assert set(listed["items"]["enum"]) == set(marks.ALL_MARKS)
    assert demo["countries"]["maximum"] == len(marks.COUNTRIES)
    defaults = {name: entry["default"] for name, entry in demo.items()}
    assert World(**defaults) == World()


def test_the_demo_is_a_world_of_all_marks():
    demo = yaml.safe_load((ROOT / "config/demo.yaml").read_text(encoding="utf-8"))["demo"]
    assert set(World(**demo).informative) == set(marks.ALL_MARKS)
