"""Columns of the tables of the index, and functions that read the small ones."""

from __future__ import annotations

import csv
from pathlib import Path

INDEX_COLUMNS = [
    "image_id", "source", "collection", "path", "latitude", "longitude", "country", "author",
    "split", "shard",
]  # fmt: skip
SHARD_KEYS = ["collection", "country", "shard"]
MANIFEST_COLUMNS = ["image_id", "source", "path", "latitude", "longitude", "country", "split"]
REJECTED_COLUMNS = ["source", "path", "reason"]
LISTING_COLUMNS = ["source", "kind", "files", "examples"]


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Read the rows of a small CSV of the index as text; `NA` stays Namibia."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def kept_classes(countries_path: str | Path) -> list[str]:
    """Return the classes of all models: sorted ISO codes of the kept countries."""
    return sorted(row["country"] for row in read_rows(countries_path) if row["kept"] == "True")


def majority_country(countries_path: str | Path) -> str:
    """Return the country with the most training images; of equal ones the first code."""
    rows = [row for row in read_rows(countries_path) if row["kept"] == "True"]
    return min(rows, key=lambda row: (-int(row["train"]), row["country"]))["country"]
