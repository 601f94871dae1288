"""Benchmark results: rows with a common format, as JSON in bench/results/ and as a table."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """Return the processor and, if there is one, the GPU."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}"
    return name + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "")


def commit() -> str | None:
    """Return the commit that is measured, with a `+` if files differ from it; None without Git."""
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(FOLDER.parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    return described.stdout.strip() or None


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        baseline: value it is compared with, in the same unit, from the same run.
        ratio: how many times better it is than the baseline.
        target: required ratio or, without a baseline, required value.
        holds: whether it meets the target; None if it can't be measured here or has no target.
        commit: what was measured; None if the row is older than this field.
        load: load average of the last minute when the row was made; the machine's cores bound it
            if nothing else runs.
    """

    case: str
    metric: str
    value: float | None
    baseline: float | None = None
    ratio: float | None = None
    target: float | None = None
    holds: bool | None = None
    machine: str = field(default_factory=machine)
    commit: str | None = field(default_factory=commit)
    load: float | None = field(default_factory=lambda: round(os.getloadavg()[0], 1))


def rated(case: str, metric: str, value: float, baseline: float, at_least: float) -> Row:
    """Compare a rate (more is better) with the baseline's."""
    ratio = value / baseline
    return Row(case, metric, value, baseline, ratio, at_least, ratio >= at_least)


def bounded(
    case: str,
    metric: str,
    value: float,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Row:
    """Compare a value with a bound on one side."""
    holds = value >= at_least if at_least is not None else value <= at_most
    return Row(case, metric, value, target=at_least if at_most is None else at_most, holds=holds)


def save(name: str, rows: Sequence[Row], folder: Path = FOLDER) -> None:
    """Write {name}.json in a folder, bench/results by default, and print the rows.

    Rows of cases that were not measured this time stay in the file, so that a part can be repeated,
    or run on another machine.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else []
    before = [Row(**({"commit": None, "load": None} | row)) for row in known]
    cases = {row.case for row in rows}
    rows = [*(row for row in before if row.case not in cases), *rows]
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(f"\n{table(rows)}\n\n{path}")


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = [
        "| case | metric | value | baseline | ratio | target | holds |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        numbers = (row.value, row.baseline, row.ratio, row.target)
        cells = ["" if n is None else f"{n:.3g}" for n in numbers]
        holds = {True: "yes", False: "NO", None: ""}[row.holds]
        if row.value is None:
            cells[0] = "not measured"
        lines.append(f"| {row.case} | {row.metric} | {' | '.join(cells)} | {holds} |")
    return "\n".join(lines)
