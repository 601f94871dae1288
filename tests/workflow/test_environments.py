"""The three places that name packages: pins, Conda environments and container definitions."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conftest import ROOT

ENVIRONMENTS = ("geo", "torch", "tensorflow")


def pins(name: str) -> list[str]:
    """The pins of envs/{name}.txt with those that it includes, in their order."""
    found = []
    for line in (ROOT / f"envs/{name}.txt").read_text().splitlines():
        if line.startswith("-r "):
            found += pins(line.removeprefix("-r ").removesuffix(".txt"))
        elif line and not line.startswith("#"):
            found.append(line)
    return found


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_conda_environment_has_the_pins(name):
    environment = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())
    assert environment["dependencies"][-1] == {"pip": pins(name)}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_pin_is_exact(name):
    assert [pin for pin in pins(name) if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []


def test_every_rule_with_a_script_names_an_environment_and_its_image():
    for path in (ROOT / "rules").glob("*.smk"):
        rules = re.split(r"^ *(?:rule|checkpoint) ", path.read_text(), flags=re.MULTILINE)[1:]
        for text in rules:
            if "script:" not in text:
                continue
            conda = re.search(r'conda:\s+"\.\./envs/(\w+)\.yaml"', text)
            image = re.search(r'container:\s+config\["containers"\]\["(\w+)"\]', text)
            assert conda, text
            assert image, text
            assert conda[1] == image[1]
            assert conda[1] in ENVIRONMENTS
