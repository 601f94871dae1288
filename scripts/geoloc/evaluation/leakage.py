"""What test images share with training images: nearly the same picture, or the same place.

Two pictures are compared by the number of bits in which their perceptual hashes differ (pHash of
the package imagehash: 64 signs of the lowest frequencies of a 32×32 gray image). Unrelated pictures
differ in about 32 bits; scaled, recompressed or brightened copies in a few (docs/leakage.md).

Training images are squares: the center of a picture, or all of it squeezed into one. A test image
may be whole, so it is hashed both ways, and mirrored.

Of millions of images, only near-duplicates are searched for: finding the nearest of unrelated
pictures would take hours (geoloc.evaluation.hash_search).
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
import pyarrow as pa
from PIL import Image, ImageOps
from scipy.spatial import KDTree

from geoloc.corpus.spatial_split import EARTH_RADIUS
from geoloc.errors import InputError
from geoloc.evaluation.hash_search import ALL_PAIRS, NONE, nearest_hashes
from geoloc.images import center_square, decode_image, megapixels
from geoloc.progress import Progress
from geoloc.stores import read_images

NEAR_METERS = (25, 100, 1000)
INDEX_COLUMNS = ("image_id", "collection", "source", "country", "split", "latitude", "longitude")
CATEGORIES = ("collection", "source", "country", "split")  # INDEX_COLUMNS with few values
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
        uint64 by image id, one column for each of the `VIEWS`. The ids are Arrow's text, which
        needs a third of the memory of Python's.
    """
    one_large = threading.Lock()

    def hash_image(data: bytes) -> tuple[np.uint64, ...]:
        with one_large if megapixels(data) > LARGE else nullcontext():
            return perceptual_hashes(decode_image(data))

    def hash_store(path: str | Path) -> tuple[pa.Array, np.ndarray]:
        ids, found = [], []
        for image_id, data in read_images(path, index=index):
            ids.append(image_id)
            found.append(hash_image(data))
        return pa.array(ids, pa.string()), np.array(found, np.uint64).reshape(-1, len(VIEWS))

    ids: list[pa.Array] = []
    hashes = [np.empty((0, len(VIEWS)), np.uint64)]
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(hash_store, paths)
        for names, values in Progress(found, len(paths), "perceptual hashes", unit="shards"):
            ids.append(names)
            hashes.append(values)
    names = pd.Index(pd.arrays.ArrowExtensionArray(pa.chunked_array(ids, pa.string())))
    return pd.DataFrame(np.concatenate(hashes), index=names, columns=VIEWS)


def nearest_views(
    views: pd.DataFrame,
    references: pd.DataFrame,
    own: np.ndarray,
    groups: np.ndarray,
    threads: int,
    within: int = NONE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Apply `nearest_hashes` to n pictures and m references with all of their `VIEWS`.

    Centers are compared with centers and whole pictures with whole ones. The nearest counts, the
    first of equal ones. The last array returned, bool (n,), says whether the picture's mirror image
    is the nearest. If no reference is `within` so many bits, the row is −1; numbers of bits that
    are larger than `within` are `within` + 1.
    """
    bits, other_bits = np.full((2, len(views)), within + 1, np.uint8)
    nearest, mirrored = np.full(len(views), -1, np.int64), np.zeros(len(views), bool)
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
            within=within,
        )
        better = found_bits < bits[rows]
        nearest[rows[better]], bits[rows[better]] = found[better], found_bits[better]
        mirrored[rows[better]] = bool(mirror)
        other_bits[rows] = np.minimum(other_bits[rows], found_other)
    return nearest, bits, other_bits, mirrored


def nearest_places(places: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of m ≥ 1 references for each of n places, the first of those at one place.

    Args:
        places: (n, 2), latitude and longitude in degrees.
        references: (m, 2), the same.

    Returns:
        Row of the nearest reference, int64 (n,), and the great-circle distance to it in meters,
        float64 (n,).
    """
    pairs = np.ascontiguousarray(references, np.float64).view(np.complex128)[:, 0]
    _, first = np.unique(pairs, return_index=True)  # complex numbers sort faster than rows
    # The nearest on the sphere is the nearest in space, which is found in a fraction of the time.
    _, nearest = KDTree(_on_unit_sphere(references[first])).query(_on_unit_sphere(places))
    row = first[nearest]
    (latitude, longitude), (there, across) = np.radians(places.T), np.radians(references[row].T)
    half = np.sin((there - latitude) / 2) ** 2
    half += np.cos(latitude) * np.cos(there) * np.sin((across - longitude) / 2) ** 2
    return row, 2 * np.arcsin(np.sqrt(half.clip(max=1))) * EARTH_RADIUS * 1000


def _on_unit_sphere(places: np.ndarray) -> np.ndarray:
    """Return x, y and z, (n, 3), of places given by latitude and longitude in degrees, (n, 2)."""
    latitude, longitude = np.radians(places.T)
    level = np.cos(latitude)
    return np.stack(
        [level * np.cos(longitude), level * np.sin(longitude), np.sin(latitude)], axis=1
    )


def search_limit(tested: int, trained: int, near_duplicate_bits: int) -> int:
    """Return the largest number of different bits that is searched for, 64 for any.

    `tested` images compared with `trained` ones are more than `ALL_PAIRS` in millions of images.
    """
    return NONE if tested * trained <= ALL_PAIRS else near_duplicate_bits


def leakage_table(
    index: pd.DataFrame, hashes: pd.DataFrame, near_duplicate_bits: int = NONE, threads: int = 1
) -> pd.DataFrame:
    """Return one row for each hashed validation and test image, in the order of the index.

    Args:
        index: `INDEX_COLUMNS` of the table of images (geoloc.corpus.index). Arrow's text and
            categories need less memory than Python's text.
        hashes: from `hash_stores`.
        near_duplicate_bits: images that differ in more bits are not searched for if there are more
            pairs than `ALL_PAIRS`.
        threads: number of threads.

    Returns:
        Columns image_id, collection, source, country and split; `nearest_image` of training with
        `nearest_country`, `bits` (0–64) and `mirrored`, whether only the image's mirror image is
        that near; `other_country_bits`, the fewest to a training image of another country; and, if
        coordinates are known, `nearest_place`, the training image taken nearest, and `meters`.
        What was not found is missing: NaN, and False in `mirrored`.

    Raises:
        InputError: if there are no training images.
    """
    row = _rows_in(hashes, index["image_id"])
    index, row = index[row >= 0], row[row >= 0]
    training = (index["split"] == "train").to_numpy()
    train, rest = index[training], index[~training]
    if train.empty:
        raise InputError("no training image could be read, so nothing can leak; add images")
    within = search_limit(len(rest), len(train), near_duplicate_bits)
    country = _alphabetical_codes(index["country"])
    nearest, bits, other_bits, mirrored = nearest_views(
        _views_in(hashes, row[~training], VIEWS),
        _views_in(hashes, row[training], ("center", "whole")),
        country[~training],
        country[training],
        threads,
        within,
    )
    table = rest[["image_id", "collection", "source", "country", "split"]].reset_index(drop=True)
    table["nearest_image"] = _taken(train["image_id"], nearest)
    table["nearest_country"] = _taken(train["country"], nearest)
    table["bits"], table["mirrored"] = _found_bits(bits, within), mirrored
    table["other_country_bits"] = _found_bits(other_bits, within)
    place, meters = _nearest_places(rest, train)
    table["nearest_place"], table["meters"] = _taken(train["image_id"], place), meters
    return table


def _rows_in(hashes: pd.DataFrame, image_ids: pd.Series) -> np.ndarray:
    """Return the row of each id in `hashes`, int64 (n,), −1 where it is not."""
    found = pa.compute.index_in(pa.array(image_ids), value_set=pa.array(hashes.index))
    return found.fill_null(-1).to_numpy().astype(np.int64)


def _views_in(hashes: pd.DataFrame, rows: np.ndarray, views: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({view: hashes[view].to_numpy()[rows] for view in views})


def _alphabetical_codes(values: pd.Series) -> np.ndarray:
    """Return the position of each value in the sorted list of all values."""
    values = values.astype("category")
    return values.cat.reorder_categories(sorted(values.cat.categories)).cat.codes.to_numpy()


def _taken(values: pd.Series, rows: np.ndarray) -> pd.api.extensions.ExtensionArray:
    """Return the values in some rows, missing for −1."""
    return values.array.take(rows, allow_fill=True)


def _found_bits(bits: np.ndarray, within: int) -> np.ndarray:
    """Return numbers of bits; NaN for those above `within`, which were not searched for."""
    return bits if within == NONE else np.where(bits > within, np.nan, bits)


def _nearest_places(places: pd.DataFrame, train: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Find the training image that was taken nearest.

    Args:
        places: n rows with latitude and longitude, which may be NaN.
        train: training images, the same.

    Returns:
        Its row in `train`, int64 (n,), −1 if one of the two has no coordinates, and the distance in
        meters, float64 (n,), NaN then.
    """
    row, meters = np.full(len(places), -1), np.full(len(places), np.nan)
    placed = places["latitude"].notna().to_numpy()
    references = np.flatnonzero(train["latitude"].notna())
    if placed.any() and len(references):
        columns = ["latitude", "longitude"]
        found, meters[placed] = nearest_places(
            places.loc[placed, columns].to_numpy(), train[columns].to_numpy()[references]
        )
        row[placed] = references[found]
    return row, meters


def leakage_summary(table: pd.DataFrame, near_duplicate_bits: int) -> pd.DataFrame:
    """Return one row per collection and split of a `leakage_table`; shares are 0–1.

    `near_duplicates` and their share are images that differ from a training image in at most
    `near_duplicate_bits`. `chance_share` is the share that comes as near to an image of another
    country, which is hardly the same picture: it shows how much of the share is due to the hash.
    `located` counts images with coordinates, and `within_…_m` is the share of these with a training
    image that near.
    """
    rows = []
    groups = table.groupby(["collection", "split"], sort=False, observed=True)
    for (collection, split), part in groups:
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
