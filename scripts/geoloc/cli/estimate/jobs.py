"""The jobs of a run, as Snakemake plans them.

Snakemake counts only jobs that are left to do, and knows none of them before the index exists. So
the plan is made in a folder of its own, which has the project and an index without images, and in
which nothing else is done.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from geoloc.cli.estimate.sizes import Sizes
from geoloc.corpus.index_tables import COUNTRY_COLUMNS, SHARD_COLUMNS
from geoloc.errors import InputError

NOT_LINKED = ("results", ".snakemake")  # what Snakemake would take for finished or locked
OTHER_TABLES = ("images.parquet", "rejected.csv", "listing.csv")


@dataclass(frozen=True)
class Job:
    """A job that Snakemake plans.

    Attributes:
        benchmark: its file of time and memory, relative to `benchmarks`, without the suffix; empty
            if it has none.
        outputs: its files in the folder of the run, relative to it.
        wildcards: their values by name.
        gpu: whether it asks for a GPU.
    """

    rule: str
    benchmark: Path
    outputs: tuple[Path, ...]
    wildcards: Mapping[str, str]
    gpu: bool


def plan_jobs(config: Mapping[str, Any], configfiles: Sequence[Path], sizes: Sizes) -> list[Job]:
    """Return all jobs of a run after its index, whether they are finished or not.

    Downloads and the demo's world are skipped: they make no file of the run.

    Args:
        config: the checked configuration.
        configfiles: those that it was read from, after config/config.yaml.
        sizes: the shards that are planned.

    Raises:
        InputError: if Snakemake is not installed, or would make the index first.
        SystemExit: with Snakemake's message, if it can't plan.
    """
    if not importlib.util.find_spec("snakemake"):
        raise InputError("snakemake is not installed; run make setup")
    with tempfile.TemporaryDirectory(prefix="geoloc-estimate-") as name:
        folder = Path(name)
        for entry in os.scandir("."):
            if entry.name not in NOT_LINKED:
                (folder / entry.name).symlink_to(Path(entry.path).resolve())
        sources = _lay_out_sources(folder, config)
        _lay_out_index(folder / "results" / config["run"] / "index", config, sizes)
        files = [*(path.resolve() for path in configfiles), sources]
        jobs = list(_read_jobs(_run_snakemake(folder, files), Path("results", config["run"])))
    if any(job.rule == "index" for job in jobs):  # then the jobs after it are not known
        raise InputError(
            "Snakemake would index the images first: the Python file of a source is dated in the "
            "future; correct its date with touch"
        )
    return jobs


def _lay_out_sources(folder: Path, config: Mapping[str, Any]) -> Path:
    """Write a configuration in which all sources are empty folders, and return its path.

    Otherwise Snakemake would retrieve missing ones, and then know no job after the index.
    """
    changes: dict[str, dict] = {}
    for kind in ("sources", "test_sets"):
        for name in (name for name, entry in config[kind].items() if entry):
            path = Path("sources-of-the-estimate", name)
            (folder / path).mkdir(parents=True)
            changes.setdefault(kind, {})[name] = {"path": str(path)}
    written = folder / "sources-of-the-estimate.yaml"
    written.write_text(yaml.safe_dump(changes), encoding="utf-8")
    return written


def _lay_out_index(folder: Path, config: Mapping[str, Any], sizes: Sizes) -> None:
    """Write what Snakemake reads of an index while it plans; the other files are empty."""
    folder.mkdir(parents=True)
    street = [name for name, entry in config["sources"].items() if entry]
    countries: Counter[str] = Counter()
    rows = []
    for (collection, country, shard), images in sizes.shards.items():
        manifest = folder / "shards" / collection / country / f"{shard}.csv"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.touch()
        of_street = collection == "street"
        rows.append(
            (collection, country, shard, images, " ".join(street) if of_street else collection)
        )
        countries[country] += images * of_street
    _write_rows(folder / "shards.csv", SHARD_COLUMNS, rows)
    kept = [(code, code, n, n, 0, 0, True) for code, n in sorted(countries.items()) if n]
    _write_rows(folder / "countries.csv", COUNTRY_COLUMNS, kept)
    for name in OTHER_TABLES:
        (folder / name).touch()


def _write_rows(path: Path, columns: Sequence[str], rows: Sequence[Sequence]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([columns, *rows])


def _run_snakemake(folder: Path, configfiles: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what the console `geoloc` writes of each job of a dry run."""
    plan = folder / "plan-of-the-estimate.jsonl"
    command = [sys.executable, "-m", "snakemake", "-n", "--rerun-triggers", "mtime"]
    command += ["--logger", "geoloc", "--logger-geoloc-plan", str(plan)]
    command += ["--configfile", *map(str, configfiles)]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.stderr.write(result.stderr)
        sys.exit("Snakemake can't plan this run, so its jobs are not known")
    return [json.loads(line) for line in plan.read_text(encoding="utf-8").splitlines()]


def _read_jobs(planned: Sequence[Mapping[str, Any]], results: Path) -> Iterator[Job]:
    for job in planned:
        paths = [Path(path) for path in job["output"]]
        outputs = tuple(p.relative_to(results) for p in paths if p.is_relative_to(results))
        if paths and not outputs:
            continue
        benchmark = Path()
        if job["benchmark"]:
            file = Path(job["benchmark"]).relative_to(results / "benchmarks")
            benchmark = file.with_suffix("")
        yield Job(job["rule"], benchmark, outputs, job["wildcards"], bool(job["gpu"]))
