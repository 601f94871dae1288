"""Numbers of images and shards of a run, from its index or from counts that the user gives."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoloc.corpus.index_tables import SHARD_COLUMNS, SHARD_KEYS
from geoloc.errors import InputError
from geoloc.tables import read_rows

Shard = tuple[str, str, str]
"""Collection, country and number."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Sizes:
    """Numbers of images and shards, and where they are known from.

    Attributes:
        shards: number of images of each shard.
        train: number of street images of this split, as are `val` and `test`.
    """

    shards: Mapping[Shard, int]
    train: int
    val: int
    test: int
    known_from: str

    @property
    def street(self) -> int:
        """Number of street images."""
        return sum(n for (collection, _, _), n in self.shards.items() if collection == "street")

    @property
    def test_set(self) -> int:
        """Number of images of all test sets."""
        return sum(self.shards.values()) - self.street

    def numbers(self) -> dict[str, int | str]:
        """Return what the command prints of them."""
        street_shards = sum(collection == "street" for collection, _, _ in self.shards)
        return {
            "street": self.street,
            "test_set": self.test_set,
            "street_shards": street_shards,
            "test_set_shards": len(self.shards) - street_shards,
            "train": self.train,
            "val": self.val,
            "test": self.test,
            "known_from": self.known_from,
        }


def sizes_of_index(folder: Path) -> Sizes:
    """Return the sizes from the tables of a finished index.

    Raises:
        FileError: if a table is damaged.
    """
    rows = read_rows(folder / "shards.csv", SHARD_COLUMNS)
    shards = {tuple(row[key] for key in SHARD_KEYS): int(row["images"]) for row in rows}
    countries = read_rows(folder / "countries.csv")
    split = {name: sum(int(row[name]) for row in countries) for name in ("train", "val", "test")}
    return Sizes(shards, **split, known_from=str(folder))


def expected_sizes(config: Mapping[str, Any], options: argparse.Namespace) -> Sizes:
    """Return sizes without an index.

    The countries have made-up codes and equally many images. A country's last shard is half full on
    average, so the number of shards is an estimate.

    Raises:
        InputError: if there are more countries than images or codes.
    """
    size = config["index"]["shard_size"]
    shards = _expected_shards("street", options.images, options.countries, size)
    # Each shard is the same jobs, whichever test set it is of.
    test_sets = [name for name, entry in config["test_sets"].items() if entry]
    if test_sets and options.test_set_images:
        shards |= _expected_shards(
            test_sets[0], options.test_set_images, options.test_set_countries, size
        )
    train, val = (int(share * options.images) for share in config["index"]["split"][:2])
    return Sizes(
        shards,
        train,
        val,
        test=options.images - train - val,
        known_from="options; numbers of shards are estimates",
    )


def _expected_shards(collection: str, images: int, countries: int, size: int) -> dict[Shard, int]:
    codes = [first + second for first in LETTERS for second in LETTERS]
    if countries > min(images, len(codes)):
        raise InputError(
            f"{images} images can't be in {countries} countries; change the counts in the options"
        )
    number = max(countries, round(images / size + countries / 2))
    return {
        (collection, codes[n % countries], f"{n // countries:04d}"): (
            images // number + (n < images % number)
        )
        for n in range(number)
    }


def find_sizes(config: dict, options: argparse.Namespace) -> Sizes:
    """Return the sizes of the run: from its index if one exists, otherwise from the options.

    With another shard size, the counts of the index take the place of those in the options.
    """
    folder = Path("results", config["run"], "index")
    indexed = sizes_of_index(folder) if (folder / "shards.csv").exists() else None
    if not options.shard_size:
        return indexed or expected_sizes(config, options)
    config["index"]["shard_size"] = options.shard_size
    if indexed:
        options.images, options.countries = _counts(indexed, street=True)
        options.test_set_images, options.test_set_countries = _counts(indexed, street=False)
    return expected_sizes(config, options)


def _counts(sizes: Sizes, street: bool) -> tuple[int, int]:
    """Return the numbers of images and of countries of the street images or of the test sets."""
    of = [key for key in sizes.shards if (key[0] == "street") == street]
    return sum(sizes.shards[key] for key in of), len({country for _, country, _ in of})
