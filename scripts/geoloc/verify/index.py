"""Check the index: every image once, in one shard and one split, and consistent tables."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd

from geoloc.corpus.index import shard_table
from geoloc.corpus.index_tables import (
    COUNTRY_COLUMNS,
    DIGEST,
    INDEX_COLUMNS,
    LISTING_COLUMNS,
    MANIFEST_COLUMNS,
    REJECTED_COLUMNS,
    SHARD_KEYS,
)
from geoloc.corpus.sources.contents import READ
from geoloc.corpus.sources.contents import REJECTED as IS_REJECTED
from geoloc.corpus.split import SPLITS
from geoloc.countries.names import display_name
from geoloc.errors import InputError
from geoloc.verify.run import (
    AGAIN,
    SNAKEMAKE,
    Check,
    Finding,
    NotChecked,
    Run,
    compare_text,
    csv_text,
    failure,
    read_table,
    read_text,
    some,
)

IMAGES, SHARDS = "index/images.parquet", "index/shards.csv"
COUNTRIES, REJECTED = "index/countries.csv", "index/rejected.csv"
LISTING = "index/listing.csv"
COUNTS = ["images", *SPLITS]  # columns of countries.csv
TEXT_COLUMNS = [name for name in INDEX_COLUMNS if name not in ("latitude", "longitude")]


def check_images_table(run: Run) -> Check:
    """Check that each image occurs once, with a known country, split and shard."""
    try:
        images = pd.read_parquet(run.folder / IMAGES, page_checksum_verification=True)
    except Exception as error:
        yield failure(IMAGES, error)
        raise NotChecked("the table of images cannot be read") from None
    if list(images.columns) != INDEX_COLUMNS:
        found = ", ".join(map(str, images.columns))
        yield Finding(IMAGES, f"has the columns {found}, expected {', '.join(INDEX_COLUMNS)}")
        raise NotChecked("the table of images has other columns")
    wrong = image_mistakes(images)
    if run.configuration:
        entries = run.config["sources"] | run.config["test_sets"]
        known = [name for name, entry in entries.items() if entry]
        wrong["are of sources that the configuration does not have"] = ~images.source.isin(known)
    for problem, rows in wrong.items():
        if rows.any():
            yield Finding(IMAGES, f"{some(images.image_id[rows])} images {problem}; {AGAIN}")
    if images.empty:
        yield Finding(IMAGES, f"has no images; {AGAIN}")
    complete = images[TEXT_COLUMNS].map(lambda value: isinstance(value, str)).all(axis=1)
    run.tables[IMAGES] = images[complete]
    street = images.collection == "street"
    return f"{len(images):,} images, {street.sum():,} of them street images"


def image_mistakes(images: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the rows of the index, (n,) bool, with each possible mistake."""
    text = images[TEXT_COLUMNS].map(lambda value: isinstance(value, str)).all(axis=1)
    street = images.collection == "street"
    known = {country for country in set(images.country) if is_country(country)}
    coordinates = images[["latitude", "longitude"]].apply(pd.to_numeric, errors="coerce")
    given = images[["latitude", "longitude"]].notna()
    within = coordinates.abs().le([90, 180]).all(axis=1)
    return {
        "have a field without text": ~text,
        "are listed more than once": images.image_id.duplicated(),
        "have an id that is not their source and path": images.image_id
        != images.source + "/" + images.path,
        "have no ISO country code": ~images.country.isin(known),
        f"have a split other than {', '.join(SPLITS)}": ~images.split.isin(SPLITS),
        "of a test set are not in the split test": ~street & (images.split != "test"),
        "of a test set have another source": ~street & (images.collection != images.source),
        "have no shard of four digits": ~images.shard.astype(str).str.fullmatch(r"\d{4,}"),
        "have coordinates that are not a place": given.any(axis=1) & ~within,
    }


def is_country(code: object) -> bool:
    """Return whether a value is an ISO 3166-1 alpha-2 code."""
    try:
        return bool(display_name(str(code)))
    except ValueError:
        return False


def check_shard_table(run: Run) -> Check:
    """Check that shards.csv has each shard with its number of images, sources and digest."""
    found = read_text(run.folder / SHARDS)
    manifests = run.images.groupby(SHARD_KEYS)[MANIFEST_COLUMNS]
    digests = [hashlib.sha256(csv_text(m).encode()).hexdigest() for _, m in manifests]
    table = shard_table(run.images, digests)
    if DIGEST not in found.partition("\n")[0].split(","):
        table = table.drop(columns=DIGEST)
    yield from compare_text(SHARDS, found, csv_text(table), IMAGES)
    return f"{len(table)} shards"


def check_manifests(run: Run) -> Check:
    """Check that each manifest has the rows of its shard, and that there are no others."""
    names = set()
    for shard, rows in run.shards():
        name = shard.name("index")
        names.add(name)
        try:
            found = read_text(shard.path("index"))
        except (OSError, ValueError) as error:
            yield failure(name, error)
            continue
        yield from compare_text(name, found, csv_text(rows[MANIFEST_COLUMNS]), IMAGES)
    for path in sorted((run.folder / "index/shards").rglob("*")):
        if not path.is_dir() and run.relative(path) not in names and path.name != SNAKEMAKE:
            yield Finding(run.relative(path), "is not a shard of the index; delete it")
    return f"{len(names)} manifests"


def check_countries(run: Run) -> Check:
    """Check the counts in countries.csv, and that the kept countries are those of the images."""
    table = read_table(run.folder / COUNTRIES, COUNTRY_COLUMNS)
    numbers = table[COUNTS].apply(pd.to_numeric, errors="coerce")
    if not (numbers.notna().all(axis=None) and numbers.mod(1).eq(0).all(axis=None)):
        raise InputError("has counts that are not whole numbers")
    table[COUNTS] = numbers.astype(int)
    kept = table.kept == "True"
    run.tables["classes"] = sorted(table.country[kept])
    run.tables["street images of all countries"] = int(table.images.sum())
    run.tables["majority"] = majority(table[kept])
    if list(table.country) != sorted(set(table.country)):
        yield Finding(COUNTRIES, f"countries are not sorted or repeat; {AGAIN}")
    images = run.images
    street = images[images.collection == "street"]
    yield from _wrong_counts(table, kept, street)
    if different := sorted(set(table.country[kept]) ^ set(street.country)):
        yield Finding(
            COUNTRIES, f"kept countries and those of {IMAGES} differ in {some(different)}; {AGAIN}"
        )
    if unknown := sorted(set(images.country) - set(table.country[kept])):
        yield Finding(IMAGES, f"has images of other countries: {some(unknown)}; {AGAIN}")
    for row in table.itertuples():
        if not is_country(row.country) or display_name(row.country) != row.name:
            yield Finding(COUNTRIES, f"{row.country!r} has the name {row.name!r}; {AGAIN}")
        if row.kept not in ("True", "False"):
            yield Finding(COUNTRIES, f"{row.country}: kept is {row.kept!r}; {AGAIN}")
    if run.configuration:
        minimum = run.config["index"]["min_images"]
        if different := sorted(table.country[kept != (table.images >= minimum)]):
            yield Finding(
                COUNTRIES,
                f"kept is not what index.min_images = {minimum} gives for "
                f"{some(different)}; {AGAIN}",
            )
    return f"{kept.sum()} kept of {len(table)}"


def _wrong_counts(table: pd.DataFrame, kept: pd.Series, street: pd.DataFrame) -> Iterator[Finding]:
    """Compare the counts of each country with the street images of the index."""
    expected = pd.crosstab(street.country, street.split).reindex(columns=SPLITS, fill_value=0)
    expected = expected.reindex(table.country, fill_value=0).reset_index(drop=True)
    expected.insert(0, "images", expected.sum(axis=1))
    expected.loc[~kept, "images"] = table.images[~kept]  # the index has no images of these
    for row in np.flatnonzero((table[COUNTS] != expected[COUNTS]).any(axis=1)):
        had, wanted = (", ".join(map(str, t.loc[row, COUNTS])) for t in (table, expected))
        yield Finding(
            COUNTRIES,
            f"{table.country[row]} has {had} ({', '.join(COUNTS)}), expected {wanted} by {IMAGES};"
            f" {AGAIN}",
        )


def majority(kept: pd.DataFrame) -> str:
    """Return the country with the most training images, see index_tables.majority_country."""
    if kept.empty:
        raise InputError(f"keeps no country; {AGAIN}")
    return kept.sort_values(["train", "country"], ascending=[False, True]).country.iloc[0]


def check_rejected(run: Run) -> Check:
    """Check that rejected images occur once, have a reason, and are not in the index."""
    table = read_table(run.folder / REJECTED, REJECTED_COLUMNS)
    if table.duplicated().any():
        repeated = table.path[table.duplicated()]
        yield Finding(REJECTED, f"names {some(repeated)} more than once; {AGAIN}")
    keys = zip(table.source, table.path, strict=True)
    both = set(keys) & set(zip(run.images.source, run.images.path, strict=True))
    if both:
        names = sorted("/".join(key) for key in both)
        yield Finding(REJECTED, f"{some(names)} are also images of the index; {AGAIN}")
    if (table.reason == "").any():
        yield Finding(REJECTED, f"{(table.reason == '').sum()} rows have no reason; {AGAIN}")
    return f"{len(table)} rejected"


def check_listing(run: Run) -> Check:
    """Check that the files found in the sources' folders match the other tables of the index."""
    table = read_table(run.folder / LISTING, LISTING_COLUMNS)
    files = pd.to_numeric(table.files, errors="coerce")
    if table.duplicated(["source", "kind"]).any() or not (files > 0).all():
        raise InputError(f"has rows that repeat or count no files; {AGAIN}")
    counts = files.groupby([table.kind, table.source]).sum()
    read, rejected = (counts.get(kind, pd.Series(dtype=float)) for kind in (READ, IS_REJECTED))
    for source, images in run.images.groupby("source").size().items():
        if (found := read.get(source, 0)) < images:
            yield Finding(
                LISTING,
                f"{found:.0f} files of {source} were read, {IMAGES} has {images}"
                f" images of it; {AGAIN}",
            )
    sources = [name for name, entry in run.config["sources"].items() if entry]
    street = read[read.index.isin(sources)].sum()
    if street != (placed := run.need("street images of all countries")):
        yield Finding(
            LISTING,
            f"{street:.0f} files of street sources were read, {COUNTRIES} counts"
            f" {placed} images; {AGAIN}",
        )
    reasons = read_table(run.folder / REJECTED, REJECTED_COLUMNS).groupby("source").size()
    for source, count in rejected.items():
        if reasons.get(source, 0) < count:  # a table row whose file is missing is not a file
            yield Finding(
                LISTING,
                f"{count:.0f} files of {source} were rejected, {REJECTED} has "
                f"{reasons.get(source, 0)}; {AGAIN}",
            )
    return f"{files.sum():,} files, {read.sum():,.0f} of them read"
