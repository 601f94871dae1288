"""What the jobs of a run took and ran with, from their benchmarks and logs."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = re.compile(r" INFO packages of .*?: (.+)$")
DEVICE = re.compile(r" (?:INFO|WARNING) (.* computes on .*)$")
MACHINE = re.compile(r" INFO ran on (.*: .+)$")
PROJECT = ("geoloc", "snakemake_logger_plugin_geoloc")


def stage_of(path: Path) -> str:
    """Return the name of the stage of a benchmark or log: its rule, and the entry or collection
    that it is of, such as `train.cnn`."""
    return ".".join(path.with_suffix("").parts[:2])


def stage_times(benchmarks: Path) -> list[dict[str, Any]]:
    """Return the time and memory of each stage, from Snakemake's benchmarks.

    Returns:
        A dictionary for each stage, in alphabetical order: stage, jobs, wall_s and cpu_s (sums over
        jobs, seconds), max_rss_mb (of the largest job, MB of 2**20 bytes). None where Snakemake
        could not measure, as for jobs of milliseconds.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        found.setdefault(stage_of(path.relative_to(benchmarks)), []).extend(_measured(path))
    return [
        {
            "stage": stage,
            "jobs": len(jobs),
            "wall_s": _round(sum(j["s"] for j in jobs if not math.isnan(j["s"]))),
            "cpu_s": _total(jobs, "cpu_time"),
            "max_rss_mb": _round(max((j["max_rss"] for j in jobs), key=_known)),
        }
        for stage, jobs in found.items()
        if jobs
    ]


def _measured(path: Path) -> Iterator[dict[str, float]]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            yield {name: _number(row.get(name)) for name in ("s", "cpu_time", "max_rss")}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:  # NA or -
        return math.nan


def _known(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _total(jobs: list[dict[str, float]], name: str) -> float | None:
    known = [job[name] for job in jobs if not math.isnan(job[name])]
    return _round(sum(known)) if known else None


def _round(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)


def stage_software(logs: Path) -> dict[str, dict[str, Any]]:
    """Return the packages, devices and machines of each stage as its logs tell them.

    Returns:
        By stage: `packages`, sorted version by name; `devices`, what was computed on, and
        `machines`, their names and what they are, in the words of the logs. Jobs that failed name
        no packages and no machine.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(logs.rglob("*.log")):
        stage = found.setdefault(
            stage_of(path.relative_to(logs)), {"packages": {}, "devices": [], "machines": []}
        )
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            _read_line(line, stage)
    for stage in found.values():
        stage["packages"] = dict(sorted(stage["packages"].items()))
    return {name: stage for name, stage in found.items() if any(stage.values())}


def _read_line(line: str, stage: dict[str, Any]) -> None:
    if match := PACKAGES.search(line):
        named = (package.rpartition(" ") for package in match[1].split(", "))
        stage["packages"] |= {n: v for n, _, v in named if n not in PROJECT}
    for name, pattern in (("devices", DEVICE), ("machines", MACHINE)):
        if (match := pattern.search(line)) and match[1] not in stage[name]:
            stage[name].append(match[1])
