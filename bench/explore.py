"""How long the pages of `geoloc explore` take for 75,000 images, and how its memory grows.

    python bench/explore.py

Draws a run of that size in a temporary folder (about 1 GB), starts the command and asks for pages
as a browser does: the page, its data and 48 thumbnails, six at a time. Writes
bench/results/explore.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from tests.explore.small_run import (
    configuration,
    draw,
    make_answers,
    make_index,
    make_leakage,
    make_stores,
)

from bench.rows import Row, bounded, save
from geoloc.config import write_config
from geoloc.evaluation.found import OBJECT_COLUMNS
from geoloc.evaluation.study import COUNTRIES

PHOTOS = 34  # of a test set, by country
CLASSES, PER_IMAGE = 300, 12  # that are found in all, and in an image
AT_ONCE = 6  # requests of a browser to one host
VISITED = 20  # pages, to see whether memory grows
MEGABYTE = 1 << 20


def make_run(folder: Path, images: int) -> Path:
    """A run with so many street images, of which one country is segmented."""
    run, config = folder / "results/small", configuration()
    write_config(run / "config.yaml", config)
    counts = np.full(len(COUNTRIES), images // len(COUNTRIES))
    counts[: images % len(COUNTRIES)] += 1
    index = make_index(dict(zip(sorted(COUNTRIES), counts.tolist(), strict=True)), PHOTOS)
    (run / "index").mkdir()
    index.to_parquet(run / "index/images.parquet", index=False)
    pictures = [draw(color) for color in range(0, 250, 10)]
    for _ in make_stores(run, index, pictures, sorted(COUNTRIES)[:1]):
        pass
    make_objects(run, index[index.collection == "street"])
    make_answers(run, index, config)
    make_leakage(run, index)
    return run


def make_objects(run: Path, street: pd.DataFrame) -> None:
    """The tables of what was found: `PER_IMAGE` of `CLASSES` classes in every image."""
    folder, rng = run / "found/objects", np.random.default_rng(0)
    folder.mkdir(parents=True)
    first = rng.integers(CLASSES, size=len(street))
    classes = (first[:, None] + np.arange(PER_IMAGE)) % CLASSES
    columns = np.repeat(street.image_id.to_numpy(), PER_IMAGE), classes.ravel(), 1, 0
    table = pd.DataFrame(dict(zip(OBJECT_COLUMNS, columns, strict=True))).astype(OBJECT_COLUMNS)
    table.to_parquet(folder / "objects.parquet", index=False)
    number = np.bincount(classes.ravel(), minlength=CLASSES)
    pd.DataFrame(
        {
            "class": [f"class {n}" for n in range(CLASSES)],
            "class_index": range(CLASSES),
            "selected": True,
            "images": number,
        }
    ).to_csv(folder / "classes.csv", index=False)


@contextmanager
def served(run: Path) -> Iterator[tuple[str, int, float]]:
    """Address and process of the command, and the seconds until it said so."""
    command = [sys.executable, "-m", "geoloc", "explore", str(run), "--no-browser", "--port", "0"]
    start = time.perf_counter()
    environment = {"PYTHONPATH": str(ROOT / "scripts")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            address = re.match(r"http://\S+/", process.stdout.readline())[0]
            yield address, process.pid, time.perf_counter() - start
        finally:
            process.terminate()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url) as response:
        return response.read()


def page_seconds(address: str, **query: str | int) -> float:
    """Seconds until a browser has a page of thumbnails."""
    start, parameters = time.perf_counter(), urllib.parse.urlencode(query)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch, (address + name for name in ("", "explore.js", "explore.css"))))
        fetch(f"{address}api/run")
        found = json.loads(fetch(f"{address}api/images?{parameters}"))
        shown = urllib.parse.urlencode({"dataset": "original", "size": "small"})
        urls = [f"{address}pictures/{image['n']}?{shown}" for image in found["images"]]
        assert all(len(data) > 500 for data in pool.map(fetch, urls))
    return time.perf_counter() - start


def memory(process: int) -> float:
    """Megabytes of its own that a process holds."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024 / MEGABYTE
    raise RuntimeError("no RssAnon in /proc; run on Linux")


def processor_seconds(process: int) -> float:
    """Processor time of a process so far, which other programs on the machine hardly change."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(run: Path, images: int) -> list[Row]:
    """Time the pages of a run and watch the memory of the command."""
    case = f"{images:,} images"
    with served(run) as (address, process, started):
        idle = processor_seconds(process)
        first = page_seconds(address)
        busy = processor_seconds(process) - idle
        again = page_seconds(address)
        row, before = "cnn/original/42", memory(process)
        filtered = page_seconds(address, row=row, answer="wrong", object="objects/7", country="FR")
        pages = json.loads(fetch(f"{address}api/images?group=street/train"))["pages"]
        training = page_seconds(address, group="street/train", page=pages - 2)
        image = timed(f"{address}api/images/5?" + urllib.parse.urlencode({"row": row}))
        segments = timed(f"{address}api/images/5/segments?scores=objects")
        warm = memory(process)
        for page in random.Random(0).sample(range(pages), min(VISITED, pages)):
            page_seconds(address, group="street/train", page=page)
        after = memory(process)
    return [
        bounded(case, "start of the command, s", started, at_most=10),
        bounded(case, "first page with 48 thumbnails, s", first, at_most=2),
        bounded(case, "processor time of the first page, s", busy, at_most=2),
        bounded(case, "the same again, s", again, at_most=1),
        bounded(
            case, "first page of a row, wrong, an object and a country, s", filtered, at_most=2
        ),
        bounded(case, "last but one page of the training images, s", training, at_most=2),
        bounded(case, "facts and answers of an image, s", image, at_most=2),
        bounded(case, "outlines of an image's segments, s", segments, at_most=1),
        bounded(case, "memory after the first page, MB", before, at_most=500),
        bounded(case, f"memory that {VISITED} more pages add, MB", after - warm, at_most=50),
    ]


def timed(url: str) -> float:
    start = time.perf_counter()
    fetch(url)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=75_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        save("explore", measure(make_run(Path(folder), options.images), options.images))


if __name__ == "__main__":
    main()
