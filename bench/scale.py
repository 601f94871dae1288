"""How planning, index and leakage grow: seconds and memory at the study's size and far beyond it.

    python bench/scale.py                                   # everything
    python bench/scale.py --cases index --images 100000     # one case, at a smaller size

Everything is generated, in a temporary folder of up to 3 GB: the study by number of files (no
picture has content), an index of 7.4 million images, a corpus of 5.1 million like OpenStreetView-5M
(bench/large_corpus.py), and as many perceptual hashes. Writes bench/results/scale.json.

Wall time depends on the load of the machine, which is written with it. CPU time hardly does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from bench.large_corpus import city_coordinates, random_hashes, write_corpus
from bench.processes import in_process, peak_memory, reset_peak_memory
from bench.rows import FOLDER, Row, bounded, save
from geoloc.corpus.index import assign_shards, build_index, shard_table, write_index
from geoloc.corpus.index_tables import MANIFEST_COLUMNS
from geoloc.corpus.sources import Source, configured_sources
from geoloc.countries.geocoding import country_of_coordinates
from geoloc.countries.names import display_name
from geoloc.evaluation import hash_search
from geoloc.evaluation import leakage as leakage_search
from geoloc.evaluation.leakage import (
    CATEGORIES,
    INDEX_COLUMNS,
    VIEWS,
    leakage_summary,
    leakage_table,
)
from geoloc.files import file_hash
from geoloc.tables import read_large_table, read_table

PROJECT = ("Snakefile", "rules", "scripts", "envs", "profiles", "report", "demo", "config")
INDEX = Path("results/study/index")
STUDY_IMAGES, STREETVIEW_IMAGES, TEST_IMAGES, COUNTRIES = 73_867, 25_229, 2_504, 73
CORPUS_IMAGES = 5_100_000
EXPERIMENTS = ("controls", "seeds", "street_segmenters")
LARGER = 100  # times the study's images, in shards of LARGER_SHARDS
LARGER_SHARDS = 5000
STUDY_SECONDS, EXPERIMENTS_SECONDS, LARGER_SECONDS = 10, 20, 60  # targets of plans
JOB_SECONDS, INDEX_MIB = 600, 4000  # targets of a job; INDEX_MIB is what the rule asks for
RATIO = (0.8, 0.1, 0.1)
COPIES = 0.01  # share of test images that are near-duplicates of a training image
BITS = 6
Measured = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--images", type=int, default=CORPUS_IMAGES, help="of the large corpus")
    parser.add_argument("--study", type=int, default=STUDY_IMAGES, help="images of the study")
    parser.add_argument("--results", type=Path, default=FOLDER, help="folder of scale.json")
    options = parser.parse_args(arguments)
    for case in options.cases:
        with tempfile.TemporaryDirectory(prefix="geoloc_scale_") as scratch:
            save("scale", CASES[case](Path(scratch), options), options.results)


def rows_of(case: str, load: float, found: Measured, seconds: float, mib: float | None) -> list:
    """Return the rows of a case: wall and CPU time, memory, and the load when it started.

    On a busy machine, wall time can't show whether the target holds.
    """
    rows = [bounded(case, "CPU, seconds", found["cpu"], at_most=seconds)]
    wall = bounded(case, "wall, seconds", found["wall"], at_most=seconds)
    busy = load > 1 and not wall.holds
    rows.append(
        Row(case, wall.metric, wall.value, target=seconds, holds=None if busy else wall.holds)
    )
    memory = "peak memory, MiB"
    rows.append(
        Row(case, memory, found["mib"])
        if mib is None
        else bounded(case, memory, found["mib"], at_most=mib)
    )
    return [*rows, Row(case, "processes that ran or waited at the start", load)]


def measured(function: Callable[[], object]) -> Measured:
    """Return wall and CPU seconds of a call in this process, and its peak memory in MiB."""
    reset_peak_memory()
    wall, cpu = time.monotonic(), time.process_time()
    function()
    return {
        "wall": time.monotonic() - wall,
        "cpu": time.process_time() - cpu,
        "mib": 1024 * peak_memory(),
    }


# Planning


def plan_study(scratch: Path, options: argparse.Namespace) -> list[Row]:
    """Plan the study."""
    folder = make_study(scratch / "study", options.study)
    return plan_rows(f"plan of {options.study:,} images", folder, STUDY_SECONDS)


def plan_experiments(scratch: Path, options: argparse.Namespace) -> list[Row]:
    """Plan the study with controls, five seeds and street segmenters."""
    folder = make_study(scratch / "study", options.study)
    overlays = [f"config/experiments/{name}.yaml" for name in EXPERIMENTS]
    case = f"plan of {options.study:,} images, {', '.join(EXPERIMENTS)}"
    return plan_rows(case, folder, EXPERIMENTS_SECONDS, overlays)


def plan_larger(scratch: Path, options: argparse.Namespace) -> list[Row]:
    """Plan a hundred times the study, in large shards."""
    study = make_study(scratch / "study", options.study)
    large = make_workdir(scratch / "large")
    in_process(enlarge, study, large, LARGER, LARGER_SHARDS)
    case = f"plan of {LARGER * options.study:,} images, shards of {LARGER_SHARDS:,}"
    return plan_rows(case, large, LARGER_SECONDS)


def plan_rows(case: str, folder: Path, seconds: float, overlays: Sequence[str] = ()) -> list[Row]:
    """Return the rows of a plan, with the number of its jobs and the target in seconds."""
    load = os.getloadavg()[0]
    found = plan(folder, overlays)
    return [Row(case, "jobs", found["jobs"]), *rows_of(case, load, found, seconds, None)]


def make_workdir(folder: Path) -> Path:
    """Make a folder in which Snakemake finds the project."""
    folder.mkdir(parents=True)
    for name in PROJECT:
        (folder / name).symlink_to(ROOT / name)
    return folder


def plan(folder: Path, overlays: Sequence[str]) -> Measured:
    """Plan the run in `folder`, imports of Snakemake included."""
    command = [sys.executable, str(ROOT / "bench/planning.py"), *overlays]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def make_study(folder: Path, images: int) -> Path:
    """Make the study's sources from empty files, and its index. Returns the folder.

    The sizes of the countries follow Zipf's law, as those of the study nearly do.
    """
    make_workdir(folder)
    places = country_places(COUNTRIES)
    sizes = 1 / np.arange(1, COUNTRIES + 1)
    numbered = images * STREETVIEW_IMAGES // STUDY_IMAGES
    counts = 10 + (sizes / sizes.sum() * (images - numbered - 10 * COUNTRIES)).astype(int)
    counts[0] += images - numbered - counts.sum()
    resources = folder / "resources"
    for country, count in zip(places, counts.tolist(), strict=True):
        names = [f"canvas_{1_629_000_000 + number}.jpg" for number in range(count)]
        empty_files(resources / "geoguessr/compressed_dataset" / display_name(country), names)
    chosen = np.array(list(places.values()))
    names = [f"{number}.png" for number in range(numbered)]
    streetview = resources / "streetview/Streetview_Image_Dataset"
    empty_files(streetview, names)
    write_places(streetview / "coordinates.csv", "latitude,longitude", names, chosen)
    test_images = max(COUNTRIES, images * TEST_IMAGES // STUDY_IMAGES)
    names = [f"{number}.jpg" for number in range(test_images)]
    empty_files(resources / "im2gps3k/images", names)
    write_places(
        resources / "im2gps3k/im2gps3k_places365.csv", "LAT,LON,IMG_ID,AUTHOR", names, chosen
    )
    in_process(index_study, folder)
    return folder


def country_places(count: int) -> dict[str, tuple[float, float]]:
    """Return the coordinates of a city of each of the `count` countries with the most cities."""
    cities = city_coordinates()
    countries = country_of_coordinates(*cities.T)
    names, first, sizes = np.unique(countries, return_index=True, return_counts=True)
    most = np.argsort(-sizes, kind="stable")[:count]
    return {str(names[i]): tuple(cities[first[i]]) for i in most}


def empty_files(folder: Path, names: Sequence[str]) -> None:
    """Make a folder of empty files."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def write_places(path: Path, header: str, names: Sequence[str], places: np.ndarray) -> None:
    """Write a table with a row for each image; places take turns."""
    columns = header.count(",") + 1
    rows = (
        ",".join([*map(str, places[i % len(places)]), name, f"{i}@N00"][:columns])
        for i, name in enumerate(names)
    )
    path.write_text("\n".join([header, *rows]) + "\n")


def index_study(folder: Path) -> dict:
    """Write the index of the study in `folder`, with small countries too."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    with contextlib.chdir(folder):  # paths of the configuration are relative
        tables = build_index(
            configured_sources(config), 1, config["index"]["shard_size"], 42, RATIO, 0.01
        )
        write_index(INDEX, *tables)
    return {}


def enlarge(study: Path, folder: Path, factor: int, shard_size: int) -> dict:
    """Write an index of `factor` times as many images as the study's, without images."""
    (folder / "resources").symlink_to(study / "resources")
    index = folder / INDEX
    index.mkdir(parents=True)
    for name in ("images.parquet", "rejected.csv", "listing.csv"):
        shutil.copy(study / INDEX / name, index)
    images = pd.read_parquet(study / INDEX / "images.parquet")
    tables = []
    for (collection, country), group in images.groupby(["collection", "country"]):
        rows = group.loc[group.index.repeat(factor)].reset_index(drop=True)
        repetition = (rows.index % factor).astype(str)
        for column in ("image_id", "path"):
            parts = rows[column].str.rpartition(".")
            rows[column] = parts[0] + "_" + repetition + "." + parts[2]
        rows["shard"] = assign_shards(rows, shard_size)
        home = index / "shards" / collection / country
        home.mkdir(parents=True)
        for shard, part in rows.groupby("shard"):
            part[MANIFEST_COLUMNS].to_csv(home / f"{shard}.csv", index=False)
        manifests = sorted(home.iterdir())  # only of this country
        tables.append(shard_table(rows, [file_hash(path) for path in manifests]))
    pd.concat(tables).to_csv(index / "shards.csv", index=False)
    countries = read_table(study / INDEX / "countries.csv")
    countries[["images", "train", "val", "test"]] *= factor
    countries.to_csv(index / "countries.csv", index=False)
    return {}


# Index


def index_corpus(scratch: Path, options: argparse.Namespace) -> list[Row]:
    """List, geocode, split and shard the large corpus, as the rule index does."""
    write_corpus(scratch / "corpus", options.images)
    load = os.getloadavg()[0]
    found = in_process(index, scratch)
    return rows_of(f"index of {options.images:,} images", load, found, JOB_SECONDS, INDEX_MIB)


def index(scratch: Path) -> Measured:
    """Index the corpus in `scratch`."""
    source = Source("osv5m", "street", "metadata_table", scratch / "corpus", "images", "train.csv")
    return measured(
        lambda: write_index(
            scratch / "index", *build_index([source], 75, LARGER_SHARDS, 42, RATIO, 0.01)
        )
    )


# Leakage


def compare_corpus(scratch: Path, options: argparse.Namespace) -> list[Row]:
    """Compare the hashes and places of the large corpus, as check_leakage does once it has them."""
    in_process(write_hashes, scratch, options.images)
    load = os.getloadavg()[0]
    found = in_process(leakage, scratch)
    return rows_of(f"leakage of {options.images:,} images", load, found, JOB_SECONDS, None)


def compare_study(scratch: Path, options: argparse.Namespace) -> list[Row]:
    """Compare the study's hashes by index and all pairs; the tables must be equal."""
    in_process(write_hashes, scratch, options.study)
    found = in_process(differences, scratch)
    case = f"leakage of {options.study:,} images, by index and by all pairs"
    return [bounded(case, "different rows", found["different"], at_most=0)]


def write_hashes(scratch: Path, images: int) -> dict:
    """Write the index and the hashes of a corpus; a test set of 2,504 images is part of it."""
    rng = np.random.default_rng(0)
    tests = min(TEST_IMAGES, images // 10)
    places = city_coordinates()
    places = places[rng.integers(len(places), size=images)]
    split = rng.choice(["train", "val", "test"], images, p=RATIO)
    split[-tests:] = "test"
    collection = np.where(np.arange(images) < images - tests, "street", "im2gps3k")
    table = pd.DataFrame({"image_id": [f"osv5m/00.zip/00/{n:016d}.jpg" for n in range(images)]})
    table["collection"], table["source"], table["split"] = collection, "osv5m", split
    table["country"] = country_of_coordinates(*places.T)
    table[["latitude", "longitude"]] = places + rng.uniform(-0.1, 0.1, places.shape)
    table[list(INDEX_COLUMNS)].to_parquet(scratch / "images.parquet", index=False)
    hashes = {view: random_hashes(rng, images) for view in VIEWS}
    _copy(rng, hashes, split)
    street = collection == "street"  # squares, whose center is all of them
    for whole, center in (("whole", "center"), ("whole_mirrored", "center_mirrored")):
        hashes[whole][street] = hashes[center][street]
    frame = pd.DataFrame(hashes, columns=VIEWS).assign(image_id=table.image_id)
    frame.to_parquet(scratch / "hashes.parquet", index=False)
    return {}


def _copy(rng: np.random.Generator, hashes: dict[str, np.ndarray], split: np.ndarray) -> None:
    """Make a share of the test images near-duplicates of training images, half of them mirrored."""
    train, rest = np.flatnonzero(split == "train"), np.flatnonzero(split != "train")
    copies = rng.permutation(rest)[: max(2, int(COPIES * len(rest)))]
    originals = hashes["center"][rng.choice(train, len(copies))]
    for bits in (rng.integers(64, size=len(copies)) for _ in range(BITS)):
        originals ^= np.uint64(1) << bits.astype(np.uint64)
    half = len(copies) // 2
    hashes["center"][copies[:half]] = originals[:half]
    hashes["center_mirrored"][copies[half:]] = originals[half:]


def compare(scratch: Path) -> pd.DataFrame:
    """Return the leakage table of the hashes in `scratch`."""
    table = read_large_table(scratch / "images.parquet", INDEX_COLUMNS, CATEGORIES)
    hashes = read_large_table(scratch / "hashes.parquet", ("image_id", *VIEWS), ())
    return leakage_table(table, hashes.set_index("image_id"), BITS, os.cpu_count() or 1)


def leakage(scratch: Path) -> Measured:
    """Measure `compare`, which must find the copies."""
    tables = []
    found = measured(lambda: tables.append(compare(scratch)))
    summary = leakage_summary(tables[0], BITS)
    if not summary.near_duplicates.sum() >= COPIES * len(tables[0]) / 2:
        raise RuntimeError(f"copies were not found: {summary}")
    return found


def differences(scratch: Path) -> Measured:
    """Count the rows in which the index and the comparison of all pairs differ.

    The index searches for near-duplicates only, so others are removed from the second table.
    """
    tables = []
    for limit in (0, sys.maxsize):
        leakage_search.ALL_PAIRS = hash_search.ALL_PAIRS = limit
        tables.append(compare(scratch).astype({"mirrored": object}))
    of_nearest = ["nearest_image", "nearest_country", "bits"]
    far = tables[1]["bits"] > BITS
    tables[1].loc[far, of_nearest], tables[1].loc[far, "mirrored"] = np.nan, False
    tables[1].loc[tables[1]["other_country_bits"] > BITS, "other_country_bits"] = np.nan
    texts = [table.to_csv(index=False).splitlines() for table in tables]
    return {"different": sum(a != b for a, b in zip(*texts, strict=True))}


CASES = {
    "study": plan_study,
    "experiments": plan_experiments,
    "larger": plan_larger,
    "index": index_corpus,
    "leakage": compare_corpus,
    "exact": compare_study,
}

if __name__ == "__main__":
    main()
