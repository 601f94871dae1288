"""What test images share with training images: nearly the same picture, or the same place.

Two pictures are compared by the number of bits in which their perceptual hashes differ (pHash of
the package imagehash: 64 signs of the lowest frequencies of a 32×32 gray image). Unrelated pictures
differ in about 32 bits; scaled, recompressed or brightened copies in a few (docs/leakage.md).

Training images are squares: the center of a picture, or all of it squeezed into one. A test image
may be whole, so it is hashed both ways, and mirrored.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from sklearn.neighbors import BallTree

from geoloc.corpus.spatial_split import EARTH_RADIUS
from geoloc.errors import InputError
from geoloc.evaluation.hash_search import nearest_hashes
from geoloc.images import center_square, decode_image, megapixels
from geoloc.progress import Progress
from geoloc.stores import read_images

NEAR_METERS = (25, 100, 1000)
INDEX_COLUMNS = ("image_id", "collection", "source", "country", "split", "latitude", "longitude")
LARGE = 16  # megapixels; larger images are decoded one at a time
HASH_SIDE = 32  # side in pixels of the gray image that pHash transforms
VIEWS = ("center", "whole", "center_mirrored", "whole_mirrored")  # of a picture, each hashed


def perceptual_hash(image: Image.Image) -> np.uint64:
    """Return the pHash of a Pillow image as 64 bits."""
    return np.packbits(imagehash.phash(image).hash.ravel()).view(np.uint64)[0]


def perceptual_hashes(image: Image.Image) -> tuple[np.uint64, ...]:
    """Return the pHash of each of the `VIEWS` of an RGB Pillow image."""

    def gray(view: Image.Image) -> Image.Image:  # what imagehash makes of any image
        return view.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS)

    whole = gray(image)
    views = [whole if image.width == image.height else gray(center_square(image)), whole]
    return tuple(map(perceptual_hash, [*views, *map(ImageOps.mirror, views)]))


def hash_stores(
    paths: Sequence[str | Path], threads: int = 1, index: str | Path | None = None
) -> pd.DataFrame:
    """Return the perceptual hashes of all images of `images` stores.

    Each thread decodes one image at a time, and large images are decoded one at a time overall. So
    memory use doesn't grow with the number of images, nor with large images times threads.

    Args:
        paths: `images` stores.
        threads: number of threads.
        index: folder of the index to compare the stores with; not compared if None.

    Returns:
        uint64 by image id, one column for each of the `VIEWS`.
    """
    one_large = threading.Lock()

    def hash_image(data: bytes) -> tuple[np.uint64, ...]:
        with one_large if megapixels(data) > LARGE else nullcontext():
            return perceptual_hashes(decode_image(data))

    def hash_store(path: str | Path) -> tuple[list[str], np.ndarray]:
        ids, found = [], []
        for image_id, data in read_images(path, index=index):
            ids.append(image_id)
            found.append(hash_image(data))
        return ids, np.array(found, np.uint64).reshape(-1, len(VIEWS))

    ids: list[str] = []
    hashes = [np.empty((0, len(VIEWS)), np.uint64)]
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(hash_store, paths)
        for names, values in Progress(found, len(paths), "perceptual hashes", unit="shards"):
            ids += names
            hashes.append(values)
    return pd.DataFrame(np.concatenate(hashes), index=ids, columns=VIEWS)


def nearest_views(
    views: pd.DataFrame, references: pd.DataFrame, own: np.ndarray, groups: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Apply `nearest_hashes` to n pictures and m references with all of their `VIEWS`.

    Centers are compared with centers and whole pictures with whole ones. The nearest counts, the
    first of equal ones. The last array returned, bool (n,), says whether the picture's mirror image
    is the nearest.
    """
    bits, other_bits = np.full((2, len(views)), 65, np.uint8)
    nearest, mirrored = np.zeros(len(views), np.int64), np.zeros(len(views), bool)
    squares = bool((references["center"] == references["whole"]).all())
    for view in VIEWS:
        kind, _, mirror = view.partition("_")
        rows = np.arange(len(views))
        if kind == "whole" and squares:  # the center of a square is all of it
            rows = np.flatnonzero((views["center"] != views["whole"]).to_numpy())
        found, found_bits, found_other = nearest_hashes(
            views[view].to_numpy()[rows],
            references[kind].to_numpy(),
            own[rows],
            groups,
            threads,
            below=(bits[rows], other_bits[rows]),
        )
        better = found_bits < bits[rows]
        nearest[rows[better]], bits[rows[better]] = found[better], found_bits[better]
        mirrored[rows[better]] = bool(mirror)
        other_bits[rows] = np.minimum(other_bits[rows], found_other)
    return nearest, bits, other_bits, mirrored


def nearest_places(places: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of m ≥ 1 references for each of n places.

    Args:
        places: (n, 2), latitude and longitude in degrees.
        references: (m, 2), the same.

    Returns:
        Row of the nearest reference, int64 (n,), and the great-circle distance to it in meters,
        float64 (n,).
    """
    tree = BallTree(np.radians(references), metric="haversine")
    distance, row = tree.query(np.radians(places))
    return row[:, 0], distance[:, 0] * EARTH_RADIUS * 1000


def leakage_table(index: pd.DataFrame, hashes: pd.DataFrame, threads: int = 1) -> pd.DataFrame:
    """Return one row for each hashed validation and test image, in the order of the index.

    Args:
        index: `INDEX_COLUMNS` of the table of images (geoloc.corpus.index).
        hashes: from `hash_stores`.
        threads: number of threads.

    Returns:
        Columns image_id, collection, source, country and split; `nearest_image` of training with
        `nearest_country`, `bits` (0–64) and `mirrored`, whether only the image's mirror image is
        that near; `other_country_bits`, the fewest to a training image of another country; and, if
        coordinates are known, `nearest_place`, the training image taken nearest, and `meters`.

    Raises:
        InputError: if there are no training images.
    """
    index = index[index["image_id"].isin(hashes.index)]
    train, rest = index[index["split"] == "train"], index[index["split"] != "train"]
    if train.empty:
        raise InputError("no training image could be read, so nothing can leak; add images")
    table = rest[["image_id", "collection", "source", "country", "split"]].reset_index(drop=True)
    row, bits, other_bits, mirrored = nearest_views(
        hashes.loc[rest["image_id"]],
        hashes.loc[train["image_id"]],
        rest["country"].to_numpy(str),
        train["country"].to_numpy(str),
        threads,
    )
    table["nearest_image"] = train["image_id"].to_numpy()[row]
    table["nearest_country"] = train["country"].to_numpy()[row]
    table["bits"], table["mirrored"], table["other_country_bits"] = bits, mirrored, other_bits
    table["nearest_place"], table["meters"] = "", np.nan
    placed, references = rest["latitude"].notna().to_numpy(), train[train["latitude"].notna()]
    if placed.any() and len(references):
        columns = ["latitude", "longitude"]
        row, meters = nearest_places(
            rest.loc[placed, columns].to_numpy(), references[columns].to_numpy()
        )
        table.loc[placed, "nearest_place"] = references["image_id"].to_numpy()[row]
        table.loc[placed, "meters"] = meters
    return table


def leakage_summary(table: pd.DataFrame, near_duplicate_bits: int) -> pd.DataFrame:
    """Return one row per collection and split of a `leakage_table`; shares are 0–1.

    `near_duplicates` and their share are images that differ from a training image in at most
    `near_duplicate_bits`. `chance_share` is the share that comes as near to an image of another
    country, which is hardly the same picture: it shows how much of the share is due to the hash.
    `located` counts images with coordinates, and `within_…_m` is the share of these with a training
    image that near.
    """
    rows = []
    for (collection, split), part in table.groupby(["collection", "split"], sort=False):
        near = part["bits"] <= near_duplicate_bits
        meters = part["meters"].dropna()
        row = {
            "collection": collection,
            "split": split,
            "images": len(part),
            "near_duplicates": int(near.sum()),
            "near_duplicate_share": near.mean(),
            "chance_share": (part["other_country_bits"] <= near_duplicate_bits).mean(),
            "located": len(meters),
        }
        row |= {f"within_{limit}_m": (meters <= limit).mean() for limit in NEAR_METERS}
        rows.append(row | {"median_m": meters.median()})
    return pd.DataFrame(rows)
