"""The configuration knows the marks of the generator."""

import yaml

from geoloc.config import load_schema
from geoloc.corpus.split import split_names
from geoloc.evaluation.intervals import wilson_interval
from scenes import marks
from scenes.world import World, street_counts
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


def test_no_accuracy_of_the_demos_street_images_has_an_interval_wider_than_eight_points():
    demo = yaml.safe_load((ROOT / "config/demo.yaml").read_text(encoding="utf-8"))
    world = World(**demo["demo"])
    count = 0
    for country in world.kept:
        names = [f"{number}.jpg" for number in range(sum(street_counts(world)[country]))]
        split = split_names(names, world.seed, demo["index"]["split"])
        count += sum(each == "test" for each in split.values())
    count -= 3  # the world has damaged files
    intervals = [(right / count, *wilson_interval(right, count)) for right in range(count + 1)]
    assert max(max(high - share, share - low) for share, low, high in intervals) < 0.08
