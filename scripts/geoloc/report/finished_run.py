"""The files of a finished run, whose tables are those of its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoloc.errors import FileError
from geoloc.files import file_hash
from geoloc.matrix import Row, is_trained, rows
from geoloc.report.run_record import read_record


@dataclass(frozen=True)
class FinishedRun:
    """The files of a run that a crate describes.

    Args:
        folder: results/{run}.
        record: what `run.json` holds.
        project: root of the checkout that the run was made with.
    """

    folder: Path
    record: Mapping[str, Any]
    project: Path

    @property
    def config(self) -> Mapping[str, Any]:
        return self.record["configuration"]

    @property
    def rows(self) -> list[Row]:
        return rows(self.config)

    def model_files(self, row: Row) -> list[str]:
        """Return the files of a trained model below the run's folder; empty for one that was not
        trained."""
        folder = self.folder / "models" / row.path
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        visible = (path for path in found if not path.name.startswith("."))
        return [path.relative_to(self.folder).as_posix() for path in visible]


def finished_run(folder: Path, project: Path) -> FinishedRun:
    """Read what is known of a run and check that its tables are those of its record.

    Args:
        folder: results/{run}.
        project: root of a checkout, for the definition of the workflow and the list of weights.

    Raises:
        FileError: if the run is not finished, or a table has changed since it was.
    """
    path = folder / "run.json"
    if not path.exists():
        raise FileError(
            f"{path} does not exist: {folder} is not a finished run; run snakemake first, or give "
            "the folder of a run that has a report.html"
        )
    run = FinishedRun(folder, read_record(path), project)
    for name, digest in run.record["tables"].items():
        if not (folder / name).exists() or file_hash(folder / name) != digest:
            raise FileError(
                f"{folder / name} is not the file that {path} records; delete {path} and run "
                "snakemake again"
            )
    needed = ["config.yaml", "report.html", "index/images.parquet", "index/countries.csv"]
    needed += [f"predictions/{row.path}.parquet" for row in run.rows]
    missing = [name for name in needed if not (folder / name).exists()]
    missing += [
        f"models/{row.path}"
        for row in run.rows
        if is_trained(run.config["models"][row.model]) and not run.model_files(row)
    ]
    if missing:
        raise FileError(f"{folder / missing[0]} does not exist; run snakemake again")
    return run
