"""Seconds and bytes per unit of work, from the finished jobs of a run."""

from __future__ import annotations

import csv
from math import nan
from pathlib import Path

from geoloc.cli.estimate.sizes import Sizes
from geoloc.cli.estimate.stages import WORK, Config, Stage, units_of
from geoloc.tables import read_rows


def done_units(config: Config, stage: Stage, results: Path, sizes: Sizes) -> dict[Path, int]:
    """Return the units of the finished jobs of a stage by benchmark file.

    Args:
        config: the checked configuration.
        stage: one of any run; the shards may be others.
        results: folder of the run with the finished jobs.
        sizes: of that run.
    """
    benchmarks = results / "benchmarks"
    if stage.kind not in WORK:
        return {}
    folder = benchmarks / stage.kind / stage.entry
    single = folder.with_name(f"{folder.name}.tsv")
    files = [single] if single.exists() else sorted(folder.rglob("*.tsv"))
    done = {}
    for file in files:
        job = file.relative_to(benchmarks).with_suffix("")
        units = units_of(config, sizes, job)
        if job.parts[0] == "train":
            units = _trained_units(results.joinpath("models", *job.parts[1:]), sizes) or units
        if units:  # none are in a shard that the index does not have
            done[file] = units
    return done


def _trained_units(model: Path, sizes: Sizes) -> int:
    """Return the images × epochs that a model has seen: its training may have ended early."""
    history = model / "history.csv"
    return len(read_rows(history)) * (sizes.train + sizes.val) if history.exists() else 0


def measured_rate(done: dict[Path, int]) -> float:
    """Return the seconds of a job per unit of its work; NaN if no job has finished."""
    seconds = units = 0.0
    for file, count in done.items():
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        seconds += sum(float(row["s"]) for row in rows) / len(rows)
        units += count
    return seconds / units if units else nan


def measured_bytes(stage: Stage, done: dict[Path, int], results: Path) -> float:
    """Return the bytes of the shards that a stage writes per image; NaN if none is finished."""
    size = units = 0
    for benchmark, count in done.items() if stage.output else ():
        shard = benchmark.relative_to(results / "benchmarks" / stage.kind)
        file = (results / stage.output / shard).with_suffix(".h5")
        if file.exists():
            size, units = size + file.stat().st_size, units + count
    return size / units if units else nan
