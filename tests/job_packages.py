"""The packages that jobs imported, by their logs, and the environments that rules name."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections import defaultdict
from pathlib import Path

from tests.conftest import ROOT

# What a job in an image takes from elsewhere: Snakemake from .venv, geoloc from the checkout.
FROM_OUTSIDE = {"snakemake", "geoloc"}
RULE = re.compile(r"^ *(?:use )?(?:rule|checkpoint) ", flags=re.MULTILINE)


def packages_used(log: Path) -> dict[str, set[str]]:
    """Folder -> packages that a job imported from there, from the end of its log."""
    lines = re.findall(r"packages of (\S+): (.*)", log.read_text())
    return {folder: {item.split()[0] for item in text.split(", ")} for folder, text in lines}


def environments() -> dict[str, set[str]]:
    """Folder of logs -> environments of the rules that log there."""
    found = defaultdict(set)
    for path in (ROOT / "rules").glob("*.smk"):
        for text in RULE.split(path.read_text())[1:]:
            conda = re.search(r'conda:\s+"\.\./envs/(\w+)\.yaml"', text)
            log = re.search(r'log:\s+"<logs>/(\w+)', text)
            if conda and log:
                found[log[1]].add(conda[1])
    return found


def distributions(package: str) -> set[str]:
    """What has to be installed so that a package can be imported; one of them is enough."""
    return set(_distributions().get(package, [package]))


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())
