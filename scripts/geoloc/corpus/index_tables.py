"""Columns of the tables of the index, and functions that read the small ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from geoloc.errors import FileError
from geoloc.files import file_hash
from geoloc.tables import damaged, read_rows

INDEX_COLUMNS = [
    "image_id",
    "source",
    "collection",
    "path",
    "latitude",
    "longitude",
    "country",
    "author",
    "split",
    "shard",
]
SHARD_KEYS = ["collection", "country", "shard"]
MANIFEST_COLUMNS = ["image_id", "source", "path", "latitude", "longitude", "country", "split"]
REJECTED_COLUMNS = ["source", "path", "reason"]
SHARD_COLUMNS = [*SHARD_KEYS, "images", "sources"]
DIGEST = "sha256"  # the column of shards.csv; an index of earlier commits has none
COUNTRY_COLUMNS = ["country", "name", "images", "train", "val", "test", "kept"]
LISTING_COLUMNS = ["source", "kind", "files", "examples"]


Shards = dict[tuple[str, str, str], list[str]]
"""Names of the sources of each shard, by collection, country and shard."""


def read_shards(folder: str | Path) -> Shards:
    """Read the shards of an index in order, and compare them with its other tables.

    Raises:
        FileError: if `shards.csv` or `countries.csv` is damaged, the manifests don't match the
            shards or their digests, or a country's number of street images differs.
    """
    path, manifests = Path(folder, "shards.csv"), Path(folder, "shards")
    rows = read_rows(path, SHARD_COLUMNS)
    shards = {tuple(row[key] for key in SHARD_KEYS): row["sources"].split() for row in rows}
    found = {(*file.parts[-3:-1], file.stem) for file in manifests.glob("*/*/*.csv")}
    if different := sorted(found ^ set(shards)):
        shard = "/".join(different[0])
        where = "has no line" if different[0] in found else "has a line, but no manifest,"
        raise damaged(path, f"it {where} for {manifests}/{shard}.csv")
    listed: Counter[str] = Counter()
    for row in rows:
        _check_digest(manifests.joinpath(*(row[key] for key in SHARD_KEYS)), row, path)
        count = _count(path, row["images"])
        if row["collection"] == "street":
            listed[row["country"]] += count
    countries = Path(folder, "countries.csv")
    if countries.exists():  # otherwise Snakemake makes the index again
        _compare_countries(path, listed, countries)
    return shards


def read_manifest(path: str | Path) -> list[dict[str, str]]:
    """Read the images of a shard, and compare them with the shard's line in `shards.csv`.

    Args:
        path: `…/index/shards/{collection}/{country}/{shard}.csv`. A manifest elsewhere is not
            compared.

    Raises:
        FileError: if it is damaged, names an image twice or one of another country, has another
            number of images, or is not the file that the index wrote.
    """
    path = Path(path)
    rows = read_rows(path, MANIFEST_COLUMNS)
    counts = Counter(row["image_id"] for row in rows)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise damaged_index(path, f"{twice[0]} occurs twice")
    if len(path.parents) < 4 or path.parents[2].name != "shards":
        return rows
    if others := [row for row in rows if row["country"] != path.parent.name]:
        raise damaged_index(path, f"{others[0]['image_id']} is of {others[0]['country']}")
    table, key = path.parents[3] / "shards.csv", [*path.parts[-3:-1], path.stem]
    shards = read_rows(table, SHARD_COLUMNS)
    listed = [row for row in shards if [row[name] for name in SHARD_KEYS] == key]
    if [row["images"] for row in listed] != [str(len(rows))]:
        expected = f"{listed[0]['images']} in {table}" if listed else f"{table} has no line for it"
        raise damaged_index(path, f"it has {len(rows)} images, but {expected}")
    _check_digest(path.with_suffix(""), listed[0], table)
    return rows


def _check_digest(manifest: Path, row: dict[str, str], table: Path) -> None:
    """Compare a manifest, given without its suffix, with its row of the table of shards.

    Manifests of one country and size could be exchanged otherwise. An index of earlier commits has
    no digests.
    """
    path = manifest.with_name(f"{manifest.name}.csv")
    if DIGEST in row and file_hash(path) != row[DIGEST]:
        raise damaged_index(path, f"its SHA-256 is not the one in {table}")


def damaged_index(path: Path, reason: str) -> FileError:
    """Return the error for a manifest that can't be used: only a new index makes it again."""
    return FileError(f"{path} is damaged ({reason}); run snakemake index --force")


def count_images(folder: str | Path) -> int:
    """Return the number of images of an index; 0 before it is made."""
    path = Path(folder, "shards.csv")
    rows = read_rows(path, SHARD_COLUMNS) if path.exists() else []
    return sum(_count(path, row["images"]) for row in rows)


def _compare_countries(path: Path, listed: Counter[str], countries: Path) -> None:
    """Compare the number of street images in each kept country with `countries.csv`."""
    rows = read_rows(countries, COUNTRY_COLUMNS)
    kept = {row["country"]: _count(countries, row["images"]) for row in rows if _is_kept(row)}
    for country in sorted(kept.keys() | listed.keys()):
        if (count := kept.get(country, 0)) != listed[country]:
            raise damaged(
                countries,
                f"{country} has {count} street images in it, but {listed[country]} in {path}",
            )


def _count(path: Path, text: str) -> int:
    if not text.isdecimal():
        raise damaged(path, f"{text!r} is not a number of images")
    return int(text)


def _is_kept(row: dict[str, str]) -> bool:
    return row["kept"] == "True"


def kept_classes(countries_path: str | Path) -> list[str]:
    """Return the classes of all models: sorted ISO codes of the kept countries."""
    rows = read_rows(countries_path, ["country", "kept"])
    return sorted(row["country"] for row in rows if _is_kept(row))


def majority_country(countries_path: str | Path) -> str:
    """Return the country with the most training images; ties go to the first code."""
    rows = [row for row in read_rows(countries_path, ["country", "train", "kept"]) if _is_kept(row)]
    return min(rows, key=lambda row: (-int(row["train"]), row["country"]))["country"]
