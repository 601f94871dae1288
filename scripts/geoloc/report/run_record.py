"""`run.json`: what a run was made with and what it took.

It holds times and names of machines, so it differs between two runs of the same. Nothing but the
report may depend on it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geoloc
from geoloc.errors import FileError
from geoloc.files import file_hash, write_text
from geoloc.report.stages import stage_software, stage_times

VERSION = 1


def run_record(
    results: Path,
    config: Mapping[str, Any],
    code: Mapping[str, Any],
    listings: Mapping[str, str],
    weights: Iterable[str],
    tables: Sequence[str | Path],
    differences: Sequence[str],
) -> dict[str, Any]:
    """Return what is known of a finished run.

    Args:
        results: folder of the run, with its `benchmarks` and `logs`.
        config: the configuration as used.
        code: see `geoloc.report.code_version`.
        listings: digest of the listing of each source and test set
            (`geoloc.corpus.sources.listing_digest`).
        weights: files and folders that models and segmentations were loaded from.
        tables: files whose digests are recorded.
        differences: keys by which the configuration is not the study's.
    """
    return {
        "version": VERSION,
        "run": config["run"],
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {"name": "geoloc", "version": geoloc.__version__, **code},
        "machine": machine(),
        "seeds": list(config["seeds"] or [config["seed"]]),
        "differences_from_study": list(differences),
        "sources": dict(listings),
        "weights": {str(path): weight_digests(Path(path)) for path in dict.fromkeys(weights)},
        "tables": {Path(path).relative_to(results).as_posix(): file_hash(path) for path in tables},
        "stages": stage_times(results / "benchmarks"),
        "software_of_stages": stage_software(results / "logs"),
        "configuration": dict(config),
    }


def machine() -> dict[str, Any]:
    """Return the machine on which the record is made: that of Snakemake, also on a cluster."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor, of Linux if it tells it."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def weight_digests(path: Path) -> dict[str, str] | str | None:
    """Return the SHA-256 of a file, or of each file of a folder by its name; None if missing."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return {file.relative_to(path).as_posix(): file_hash(file) for file in files}
    return file_hash(path) if path.exists() else None


def write_record(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, whole or not at all."""
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_record(path: str | Path) -> dict[str, Any]:
    """Read `run.json`.

    Raises:
        FileError: if the file is damaged or of another version.
    """
    again = f"delete {path} and run snakemake again"
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileError(f"{path} is damaged ({error}); {again}") from error
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise FileError(f"{path} is not a record of version {VERSION}; {again}")
    return record
