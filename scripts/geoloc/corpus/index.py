"""The index: every image with its country, split and shard.

Everything after it follows from this one table. Each shard also gets a manifest of its own, and its
jobs depend on nothing else in the index.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from geoloc.corpus.index_tables import (
    DIGEST,
    INDEX_COLUMNS,
    LISTING_COLUMNS,
    MANIFEST_COLUMNS,
    REJECTED_COLUMNS,
    SHARD_KEYS,
)
from geoloc.corpus.sources import (
    Listed,
    Source,
    SourceError,
    check_files,
    check_folders,
    check_rejected,
    read_source,
)
from geoloc.corpus.sources.contents import Tally
from geoloc.corpus.spatial_split import grid_cells, split_cells
from geoloc.corpus.split import split_names, unique_names
from geoloc.countries.names import display_name
from geoloc.files import atomic_path, file_hash, utf8_name
from geoloc.progress import Progress

log = logging.getLogger(__name__)
ROW_GROUP = 1 << 20  # rows; pyarrow's default


class Tables(NamedTuple):
    """The tables of the index.

    Attributes:
        images: columns INDEX_COLUMNS.
        countries: a row for each country with street images: country, name, images, train, val,
            test, kept.
        rejected: images without a usable place, REJECTED_COLUMNS.
        listing: the content of the sources' folders, LISTING_COLUMNS.
    """

    images: pd.DataFrame
    countries: pd.DataFrame
    rejected: pd.DataFrame
    listing: pd.DataFrame


def list_sources(
    sources: Sequence[Source],
    max_rejected: float,
    geocoder: str = "nearest_city",
    unusable: Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """List the images of all sources.

    Args:
        sources: the sources.
        max_rejected: largest allowed share (0–1) of a source's images without a usable place.
        geocoder: a key of `geoloc.countries.geocoding.GEOCODERS`.
        unusable: CSV that lists all images without a usable place of a source that has too many.

    Returns:
        Tables of the images (INDEX_COLUMNS without split and shard), the rejected images
        (REJECTED_COLUMNS) and the content of the folders (LISTING_COLUMNS).

    Raises:
        SourceError: if more of a source's images have no usable place, or two sources share a
            file.
    """
    tables, rejected, listing, used = [], [], [], []
    check_folders(sources)
    if unusable is not None:
        unusable.unlink(missing_ok=True)  # of an earlier attempt
    for source in sources:
        found = read_source(source, geocoder)
        _check_rejected(source, found.images, max_rejected, unusable)
        used.append((source, found.files))
        listing += listing_rows(source, found.tally)
        rejected += [(source.name, i.path, i.rejected) for i in found.images if i.rejected]
        tables.append(_image_table(source, [item for item in found.images if not item.rejected]))
        log.info(
            "%s: %d images, %d countries",
            source.name,
            len(found.images),
            len({item.country for item in found.images if item.country}),
        )
        del found  # larger than its table
    check_files(used)
    images = pd.concat(tables or [pd.DataFrame(columns=INDEX_COLUMNS[1:-2])], ignore_index=True)
    ids = [f"{source}/{path}" for source, path in zip(images.source, images.path, strict=True)]
    images.insert(0, "image_id", pd.Series(ids, dtype=object))
    return (
        images,
        pd.DataFrame(rejected, columns=REJECTED_COLUMNS),
        pd.DataFrame(listing, columns=LISTING_COLUMNS),
    )


def _check_rejected(
    source: Source, listed: Sequence[Listed], max_rejected: float, unusable: Path | None
) -> None:
    """Raise SourceError if too many images have no place, and list them all in `unusable`."""
    try:
        check_rejected(source, listed, max_rejected)
    except SourceError as error:
        if unusable is None:
            raise
        rows = [(source.name, i.path, i.rejected) for i in listed if i.rejected]
        _write_csv(unusable, pd.DataFrame(rows, columns=REJECTED_COLUMNS))
        raise SourceError(f"{error}. All are in {unusable}") from None


def _image_table(source: Source, listed: Sequence[Listed]) -> pd.DataFrame:
    """Return path, place and author of images, the columns of the index between image_id and split.

    The table is built by column: a row as an object would need more memory than its content.
    """
    columns = {
        "source": [source.name] * len(listed),
        "collection": [source.collection] * len(listed),
        "path": [item.path for item in listed],
        "latitude": np.fromiter((item.latitude for item in listed), float, len(listed)),
        "longitude": np.fromiter((item.longitude for item in listed), float, len(listed)),
        "country": [item.country for item in listed],
        "author": [item.author for item in listed],
    }
    return pd.DataFrame(columns, columns=INDEX_COLUMNS[1:-2])


def listing_rows(source: Source, tally: Tally) -> list[tuple[str, str, int, str]]:
    """Return a row of LISTING_COLUMNS for each kind of entry in a folder, sorted by kind."""
    return [
        (source.name, kind, count, utf8_name("; ".join(tally.examples[kind])))
        for kind, count in sorted(tally.counts.items())
    ]


def kept_countries(images: pd.DataFrame, min_images: int) -> list[str]:
    """Return the sorted ISO codes of the countries with at least `min_images` street images.

    Raises:
        SourceError: if there are fewer than two.
    """
    counts = images.loc[images.collection == "street", "country"].value_counts()
    kept = sorted(counts[counts >= min_images].index)
    if len(kept) < 2:
        raise SourceError(
            f"{len(kept)} countries have at least {min_images} street images, but a classifier "
            "needs two; lower index.min_images or add images"
        )
    return kept


def assign_splits(
    images: pd.DataFrame, seed: int, ratio: Sequence[float], place_km: float | None = None
) -> pd.Series:
    """Assign each image to `train`, `val` or `test`; images of test sets are always in `test`.

    Args:
        images: columns collection, source, path, country, latitude and longitude.
        seed: draws the split.
        ratio: shares of the three splits, which each country is divided by.
        place_km: if given, street images with coordinates are split by whole grid cells of this
            size in km (`geoloc.corpus.spatial_split`). Others are split image by image.

    Returns:
        The split of each row.
    """
    split = pd.Series("test", index=images.index)
    columns = ["source", "path", "country", "latitude", "longitude"]
    street = images.loc[images.collection == "street", columns]
    if place_km is not None:
        located = street[street.latitude.notna()]
        cells = grid_cells(located.latitude.to_numpy(), located.longitude.to_numpy(), place_km)
        split[located.index] = split_cells(cells, located.country.to_numpy(str), seed, ratio)
        log.info("%d images are split by %d places", len(located), len(set(cells)))
        street = street.drop(located.index)
        for source, part in street.groupby("source"):
            log.info("%s: %d images without coordinates are split by image", source, len(part))
    groups = street.groupby("country")
    for _, group in Progress(groups, len(groups), "split", unit="countries"):
        names = unique_names(group.path)
        chosen = split_names(names, seed, ratio)
        split[group.index] = [chosen[name] for name in names]
    return split


def assign_shards(images: pd.DataFrame, shard_size: int) -> pd.Series:
    """Assign each image to a shard.

    The images of a country, in their order, are divided into as few shards as possible, of nearly
    equal size.

    Args:
        images: columns collection, country and path.
        shard_size: largest number of images per shard.

    Returns:
        The shard of each row, as text of four digits.
    """
    groups = images.groupby(["collection", "country"])
    position, count = groups.cumcount(), groups.path.transform("size")
    number = position * -(-count // shard_size) // count
    names = np.array([f"{n:04d}" for n in range(number.max() + 1)], object)  # one text per shard
    return pd.Series(names[number], index=images.index)


def build_index(
    sources: Sequence[Source],
    min_images: int,
    shard_size: int,
    seed: int,
    ratio: Sequence[float],
    max_rejected: float,
    geocoder: str = "nearest_city",
    place_km: float | None = None,
    unusable: Path | None = None,
) -> Tables:
    """Build the index of all sources, with the images of the kept countries.

    Images of a test set from other countries are skipped, as in the study; the log counts them.

    Args:
        sources: the sources.
        min_images: street images that a country needs to be kept.
        shard_size: largest number of images per shard.
        seed: draws the split.
        ratio: shares of training, validation and test images.
        max_rejected: see `list_sources`.
        geocoder: see `list_sources`.
        place_km: see `assign_splits`.
        unusable: see `list_sources`.

    Raises:
        SourceError: see `list_sources` and `kept_countries`.
    """
    images, rejected, listing = list_sources(sources, max_rejected, geocoder, unusable)
    kept = kept_countries(images, min_images)
    countries = images[images.collection == "street"].country.value_counts()
    _tell_of_skipped(images[images.collection != "street"], kept)
    images = images[images.country.isin(kept)].reset_index(drop=True)
    images["split"] = assign_splits(images, seed, ratio, place_km)
    images["shard"] = assign_shards(images, shard_size)
    if place_km is not None:
        _warn_of_missing_splits(images)
    table = summarize_countries(images, countries, kept)
    return Tables(images[INDEX_COLUMNS], table, rejected, listing)


def _tell_of_skipped(photos: pd.DataFrame, kept: Sequence[str]) -> None:
    """Log how many images of each test set are of other countries; warn if that is all of them."""
    for name, countries in photos.groupby("collection", sort=False).country:
        other = countries[~countries.isin(kept)]
        if len(other):
            log.log(
                logging.WARNING if len(other) == len(countries) else logging.INFO,
                "%s: %d of %d images are skipped: they are of %d countries that are no classes, "
                "most of %s",
                name,
                len(other),
                len(countries),
                other.nunique(),
                other.mode()[0],
            )


def _warn_of_missing_splits(images: pd.DataFrame) -> None:
    street = images[images.collection == "street"]
    present = street.groupby("country").split.nunique()
    if incomplete := sorted(present[present < 3].index):
        log.warning(
            "%s: too few places for all three splits; lower index.place_km", ", ".join(incomplete)
        )


def summarize_countries(
    images: pd.DataFrame, counts: pd.Series, kept: Sequence[str]
) -> pd.DataFrame:
    """Count the street images of each country.

    Args:
        images: the images of the kept countries, with their splits.
        counts: number of street images of every country.
        kept: the kept countries.

    Returns:
        A row for each country: country, name, images, train, val, test, kept.
    """
    street = images[images.collection == "street"]
    splits = street.groupby(["country", "split"]).size().unstack(fill_value=0)
    splits = splits.reindex(index=sorted(counts.index), columns=["train", "val", "test"])
    table = splits.fillna(0).astype(int).rename_axis("country").reset_index()
    table.insert(1, "name", [display_name(country) for country in table.country])
    table.insert(2, "images", counts[table.country].to_numpy())
    table["kept"] = table.country.isin(kept)
    return table


def write_index(
    folder: Path,
    images: pd.DataFrame,
    countries: pd.DataFrame,
    rejected: pd.DataFrame,
    listing: pd.DataFrame,
) -> None:
    """Write the tables of the index to `folder`.

    The files are images.parquet, countries.csv, rejected.csv, listing.csv, shards.csv and the
    manifests shards/{collection}/{country}/{shard}.csv.
    """
    digests = []
    for (collection, country, shard), rows in images.groupby(SHARD_KEYS):
        target = folder / "shards" / collection / country / f"{shard}.csv"
        _write_csv(target, rows[MANIFEST_COLUMNS])
        digests.append(file_hash(target))
    _write_csv(folder / "shards.csv", shard_table(images, digests))
    _write_csv(folder / "countries.csv", countries)
    _write_csv(folder / "rejected.csv", rejected)
    _write_csv(folder / "listing.csv", listing)
    with atomic_path(folder / "images.parquet") as temporary:
        _write_parquet(temporary, images)


def shard_table(images: pd.DataFrame, digests: Sequence[str]) -> pd.DataFrame:
    """Return a sorted row for each shard: collection, country, shard, images, sources, sha256.

    `images` is their number, `sources` their sorted names with spaces between.

    Args:
        images: columns INDEX_COLUMNS.
        digests: SHA-256 of each shard's manifest, in the order of `images.groupby(SHARD_KEYS)`.
    """
    shards = images.groupby(SHARD_KEYS)
    sources = shards.source.agg(lambda names: " ".join(sorted(set(names))))
    table = pd.DataFrame({"images": shards.size(), "sources": sources, DIGEST: list(digests)})
    return table.reset_index()


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def _write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write what `table.to_parquet` writes, but convert one row group at a time to save memory.

    The types don't depend on the values: a column that is empty in the first row group is still
    text.

    Raises:
        SourceError: if a value of a text column is not text.
    """
    import pyarrow as pa
    from pyarrow import parquet

    numbers = ("latitude", "longitude")
    types = [pa.float64() if name in numbers else pa.string() for name in table]
    schema = pa.schema(zip(table, types, strict=True))

    def converted(start: int) -> pa.Table:
        part = table.iloc[start : start + ROW_GROUP]
        try:
            return pa.Table.from_pandas(part, schema, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise _not_text(part, numbers) or error from error

    first = converted(0)
    with parquet.ParquetWriter(path, first.schema, write_page_checksum=True) as writer:
        writer.write_table(first)
        for start in range(ROW_GROUP, len(table), ROW_GROUP):
            writer.write_table(converted(start))


def _not_text(images: pd.DataFrame, numbers: Sequence[str]) -> SourceError | None:
    """Return the error for the first value that is neither text nor missing."""
    for column in images.columns.difference(numbers, sort=False):
        values = images[column]
        wrong = values.notna() & ~values.map(lambda value: isinstance(value, str))
        if wrong.any():
            row = images.loc[wrong.idxmax()]
            return SourceError(
                f"source {row['source']}: the {column} of {row['path']} is {row[column]!r}, not "
                "text; correct the source"
            )
    return None
