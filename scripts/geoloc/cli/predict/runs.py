"""The run that a model belongs to: its configuration, and the places of its countries."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import yaml

from geoloc.config import ConfigError, load_schema, place_paths, read_written_config
from geoloc.errors import FileError, InputError

PROJECT = Path(__file__).resolve().parents[4]
SCHEMA = "config/config.schema.yaml"


class Run:
    """A run's folder, `results/RUN`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def is_demo(self) -> bool:
        """Whether its world was generated."""
        try:
            config = yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8"))
            return bool(config["demo"])
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            return False

    @cached_property
    def config(self) -> dict:
        """Its configuration; paths are inside the folder that contains `results`.

        Raises:
            FileError: if it is missing or damaged.
        """
        path, base = self.folder / "config.yaml", self.folder.resolve().parents[1]
        try:
            config = read_written_config(path, load_schema(PROJECT / SCHEMA))
        except (OSError, ConfigError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FileError(f"{path}: {reason}; give the folder of a model of a run") from error
        return place_paths(config, PROJECT, lambda path: str(base / path))

    @cached_property
    def positions(self):
        """Latitude and longitude of each country's training images by ISO code.

        It is a data frame from `geoloc.evaluation.distances.median_positions`; None without a
        readable index.
        """
        from geoloc.evaluation.distances import median_positions
        from geoloc.tables import read_table

        path = self.folder / "index/images.parquet"
        try:
            columns = ["split", "country", "latitude", "longitude"]
            return median_positions(read_table(path, columns))
        except (OSError, ValueError, KeyError):
            return None


def run_of(model: Path, countries: Path | None = None) -> Run | None:
    """Return the run of a model `results/RUN/models/MODEL/DATASET/SEED`.

    Otherwise, return that of its `countries`, `results/RUN/index/countries.csv`, or None if there
    is none.
    """
    candidates: Sequence[Path] = [model.resolve().parents[3]] if _depth(model) > 3 else []
    if countries:
        candidates = [*candidates, countries.resolve().parents[1]]
    found = [folder for folder in candidates if (folder / "config.yaml").is_file()]
    return Run(found[0]) if found else None


def _depth(path: Path) -> int:
    return len(path.resolve().parents)


def needed_run(run: Run | None, model: Path) -> Run:
    """Return the run.

    Raises:
        InputError: if the model belongs to no run.
    """
    if run is None:
        raise InputError(
            f"{model} is in no run, so nothing says how score maps are made; give "
            "results/RUN/models/MODEL/DATASET/SEED, or for a CLIP --countries "
            "results/RUN/index/countries.csv"
        )
    return run
