"""Compare a store with the index: the images of its shard, their order, split and place."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from geoloc.stores.base import Store
from geoloc.stores.errors import StoreError, damaged


def manifest_of(store: str | Path, index: str | Path) -> Path:
    """Return the manifest of a store's shard.

    Args:
        store: `…/{collection}/{country}/{shard}.h5`. Only street images have segments, scores and
            crops: `…/segments/{segmentation}/{country}/{shard}.h5`,
            `…/scores/{scores}/{country}/{shard}.h5` and `…/crops/{scores}/…`.
        index: the folder `index` of the same run.
    """
    store, shards = Path(store), Path(index, "shards")
    shard = store.with_suffix(".csv").relative_to(store.parents[1])
    named = store.parents[2].name in ("segments", "scores", "crops")
    collection = "street" if named else store.parents[1].name
    return shards / collection / shard


def check_manifest(store: Store, index: str | Path | None) -> None:
    """Compare a store's columns with the manifest of its shard.

    Its images must be images of the manifest, in the same order, with the same split, source,
    country (`label`) and coordinates. Images missing from the store must be in quarantine. Nothing
    is compared if `index` is None.

    Raises:
        StoreError: if they differ; it names the first image that does.
    """
    if index is None:
        return
    path = manifest_of(store.path, index)
    rows = {row["image_id"]: row for row in _rows(path) if None not in row.values()}
    order = {name: number for number, name in enumerate(rows)}
    ids = store.columns["image_id"].tolist()
    if unknown := [name for name in ids if name not in rows]:
        raise damaged(store.path, f"{unknown[0]} is not an image of {path}")
    numbers = [order[name] for name in ids]
    if numbers != sorted(numbers):
        raise damaged(store.path, f"its images are not in the order of {path}")
    for name, key in (("split", "split"), ("source", "source"), ("label", "country")):
        if name in store.columns:
            _compare(store, name, [rows[image][key] for image in ids], path)
    for name in ("latitude", "longitude"):
        if name in store.columns:
            values = [_degrees(rows[image][name]) for image in ids]
            _compare(store, name, values, path)
    _check_missing(store, [rows[name] for name in rows.keys() - set(ids)], path, Path(index))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        reason = "is missing" if isinstance(error, OSError) else "is damaged"
        raise StoreError(f"{path} {reason}; run snakemake index --force") from error


def _degrees(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _compare(store: Store, name: str, expected: list, manifest: Path) -> None:
    found = store.columns[name]
    equal = found == np.asarray(expected) if len(expected) else np.ones(0, bool)
    if found.dtype.kind == "f":
        equal |= np.isnan(found) & np.isnan(np.asarray(expected))
    if not equal.all():
        row = int(np.flatnonzero(~equal)[0])
        image = store.columns["image_id"][row]
        raise damaged(
            store.path, f"{name} of {image} is {found[row]}, but {expected[row]} in {manifest}"
        )


def _check_missing(
    store: Store, missing: list[dict[str, str]], manifest: Path, index: Path
) -> None:
    """Check that images missing from a store are in quarantine."""
    if not missing:
        return
    quarantine = index.parent / "quarantine" / manifest.relative_to(index / "shards")
    listed = _rows(quarantine) if quarantine.exists() else []
    reasons = {(row["source"], row["path"]) for row in listed}
    lost = [row["image_id"] for row in missing if (row["source"], row["path"]) not in reasons]
    if lost:
        raise damaged(
            store.path,
            f"{min(lost)} of {manifest} is missing in it and not in quarantine ({quarantine})",
        )
