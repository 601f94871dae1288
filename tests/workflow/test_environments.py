"""The places that name packages: pins, locks, Conda environments, images and `make setup`."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.conftest import ROOT

ENVIRONMENTS = ("geo", "torch", "tensorflow")
LOCKS = (*ENVIRONMENTS, "dev")


def key(name: str) -> str:
    """A name of a package as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name: str) -> list[str]:
    """The pins of envs/{name}.txt with those that it includes, in their order."""
    found = []
    for line in (ROOT / f"envs/{name}.txt").read_text().splitlines():
        if line.startswith("-r "):
            found += pins(line.removeprefix("-r ").removesuffix(".txt"))
        elif line and not line.startswith("#"):
            found.append(line)
    return found


def lock(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """What envs/lock/{name}.txt installs, by package: the line without hashes, and the hashes."""
    found = {}
    for block in re.split(r"\n(?=[^\s#])", (ROOT / f"envs/lock/{name}.txt").read_text())[1:]:
        line = re.split(r" *\\\n", block)[0]
        hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
        found[key(line.partition("==")[0])] = (line, hashes)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_is_exact_and_stands_in_the_lock(name):
    for pin in pins(name):
        package, _, version = pin.partition("==")
        assert re.fullmatch(r"[\w.-]+==[\w.]+", pin)
        assert lock(name)[key(package)][0].partition(" ")[0].partition("==")[2] == version


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_an_exact_version_and_hashes_and_no_address(name):
    packages = lock(name)
    assert len(packages) > 50
    for line, hashes in packages.values():
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; .*)?", line), line
        assert hashes, line
    assert "://" not in (ROOT / f"envs/lock/{name}.txt").read_text()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_lock_of_an_image_is_a_part_of_the_whole(name):
    """But for the CUDA of TensorFlow, which .venv does without."""
    whole = lock("dev")
    for package, (line, hashes) in lock(name).items():
        if package.startswith("nvidia-") and package.endswith("-cu12"):
            assert name == "tensorflow"
            continue
        assert line.partition(" ")[0] == whole[package][0].partition(" ")[0]
        assert hashes == whole[package][1]


def test_the_image_of_tensorflow_has_its_cuda():
    assert {"nvidia-cublas-cu12", "nvidia-cudnn-cu12"} <= lock("tensorflow").keys()
    (pin,) = pins("cuda")
    assert pin.replace("[and-cuda]", "") in pins("tensorflow")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_conda_environment_has_the_versions_of_the_lock(name):
    environment = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())
    assert environment["dependencies"][-1] == {"pip": [line for line, _ in lock(name).values()]}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_image_installs_its_lock_and_checks_the_hashes(name):
    text = (ROOT / f"containers/{name}.def").read_text()
    assert f"envs/lock/{name}.txt /opt/envs/{name}.txt\n" in text
    (command,) = re.findall(r"pip install (.*?)\n\n", text, re.DOTALL)
    assert re.sub(r"\s*\\\n\s*", " ", command).endswith(f"--require-hashes -r /opt/envs/{name}.txt")


def test_all_images_build_on_one_base_that_is_named_by_its_digest():
    bases = set()
    for name in ENVIRONMENTS:
        text = (ROOT / f"containers/{name}.def").read_text()
        assert text.startswith("Bootstrap: {{ BOOTSTRAP }}\nFrom: {{ FROM }}\n")  # --build-arg
        bases |= set(
            re.findall(r"^    (FROM=.*|# python:3.11.*? by its digest)", text, re.MULTILINE)
        )
    tag, base = sorted(bases)
    assert re.fullmatch(r"FROM=python@sha256:[0-9a-f]{64}", base)
    assert tag.split()[1] in (ROOT / "docs/cluster.md").read_text()


def test_setup_installs_the_lock_and_checks_the_hashes():
    text = (ROOT / "Makefile").read_text()
    assert "LOCK := envs/lock/dev.txt" in text
    assert "--require-hashes -r $(LOCK)" in text


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
