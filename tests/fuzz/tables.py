"""Damaged tables of coordinates: no image gets the place of another, no row or image is lost.

What is read is compared with what each line says by itself, and with the undamaged table.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from geoloc.corpus.sources import Listed, Source, SourceError, read_source
from geoloc.corpus.sources.contents import NESTED
from geoloc.images import EXTENSIONS
from tests.fuzz.mutations import MUTATIONS, _swap, mutate

NAMES = ("a.jpg", "b c.png", "Peru 1.jpg", "été.jpg", "o'b.jpg", "7.jpg", "0042.jpg", "x-1.webp",
         "sub/d.jpg", "NA.jpg", "1e5.jpg", "q.JPG")  # fmt: skip
SEPARATORS = (",", ";", "\t", "|")
ENDS = ("\n", "\r\n", "\r")
COLUMNS = ("file", "latitude", "longitude", "note")
CELLS = ("", " ", "48,85", "nan", "0", "1_0", "0x1f", "91", "\0", "\x1b", '"', '""', 'a"b', "a,b",
         "é", "../a.jpg", "a.jpg", "./a.jpg", "A.JPG", "\u2028", "1e999", "-0.0", "٤٨")  # fmt: skip


def case(rng: np.random.Generator, folder: Path) -> str:
    """A table and its images, some of its bytes or fields damaged, listed by one of three kinds."""
    kind = ("named", "numbered", "ids")[rng.integers(3)]
    if kind == "numbered":
        names = [f"{number}.png" for number in range(rng.integers(3, 30))]
    else:
        names = list(map(str, rng.permutation(NAMES)[: rng.integers(3, len(NAMES) + 1)]))
    places = {name: _place(rng) for name in names}
    present = _draw(rng, folder / "images", names)
    source = _source(kind, folder)
    if rng.random() < 0.1:
        return _parquet(rng, source, places, present)
    separator, end = SEPARATORS[rng.integers(4)], ENDS[rng.integers(3)]
    rows = [[*COLUMNS], *([name, *map(str, places[name]), _note(rng)] for name in names)]
    if kind == "numbered":
        rows = [row[1:] for row in rows]
    data = _damage(rng, rows, separator, end, kind)
    (folder / "table.csv").write_bytes(data)
    return _check(source, data, places, present)


def _place(rng: np.random.Generator) -> tuple[float, float]:
    return round(float(rng.uniform(-89, 89)), 5), round(float(rng.uniform(-179, 179)), 5)


def _note(rng: np.random.Generator) -> str:
    return ("", "1", "a b", "Zürich")[rng.integers(4)]


def _draw(rng: np.random.Generator, folder: Path, names: list[str]) -> list[str]:
    """Empty files for nearly all names, and sometimes for one that no row names. Those of the last
    row stay, as numbers of rows and images must differ where a row is lost."""
    kept = [name for name in names if rng.random() < 0.95 or name == names[-1]]
    if rng.random() < 0.1:
        kept.append("unnamed.jpg")
    for name in kept:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    folder.mkdir(exist_ok=True)
    return kept


def _source(kind: str, folder: Path) -> Source:
    known = "metadata_table" if kind == "ids" else "coordinates_table"
    column = "file" if kind == "named" else None
    return Source("s", "street", known, folder, "images", "table.csv", column, id_column="file")


def _damage(
    rng: np.random.Generator, rows: list[list[str]], separator: str, end: str, kind: str
) -> bytes:
    """The table as bytes: whole, with odd rows or cells, or with damaged bytes."""
    way = rng.random()
    if 0.1 < way < 0.5:
        # Two damages could move a row to the place of another, which nothing can show.
        for _ in range(1 if kind == "numbered" else rng.integers(1, 4)):
            _damage_rows(rng, rows)
    quoted = rng.random() < 0.3
    lines = [separator.join(f'"{c}"' if quoted else c for c in row) for row in rows]
    data = (end.join(lines) + (end * int(rng.integers(0, 3)))).encode()
    if rng.random() < 0.2:
        data = b"\xef\xbb\xbf" + data
    if way < 0.5:
        return data
    if kind != "numbered":
        return mutate(rng, data)
    changed = bytearray(data)
    single = [mutation for mutation in MUTATIONS if mutation is not _swap]
    single[rng.integers(len(single))](rng, changed)
    return bytes(changed)


def _damage_rows(rng: np.random.Generator, rows: list[list[str]]) -> None:
    """Another cell, a cell more or less, or a row that is empty or stands twice."""
    at = int(rng.integers(1, len(rows)))
    cell = int(rng.integers(0, len(rows[at]) + 1))
    way = rng.integers(6)
    if way == 0:
        rows.insert(at, [""])
    elif way == 1 and len(rows[0]) == len(COLUMNS):
        rows.insert(int(rng.integers(1, len(rows) + 1)), list(rows[at]))
    elif way == 2:
        rows[at].insert(cell, CELLS[rng.integers(len(CELLS))])
    elif way == 3:
        del rows[at][cell:]
    elif cell < len(rows[at]):
        rows[at][cell] = CELLS[rng.integers(len(CELLS))]


def _listed(source: Source, present: list[str]) -> list[Listed] | None:
    """The images of a source, None where it is refused. No image is lost or listed twice."""
    try:
        found = read_source(source)
    except SourceError:
        return None
    images, folders = found.images, found.tally.examples[NESTED]
    files = sorted([item.path for item in images if not item.absent] + folders)
    assert files == sorted(present), f"images lost or listed twice: {files} of {sorted(present)}"
    assert folders in ([], ["sub/d.jpg"])
    return images


def _check(source: Source, data: bytes, places: dict, present: list[str]) -> str:
    images = _listed(source, present)
    if images is None:
        return "refused"
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    lines = re.split("\r\n|\n" if "\n" in text else "\r", text)
    while lines and not lines[-1].strip():
        lines.pop()
    header = next(number for number, line in enumerate(lines) if line.strip())
    told = {int(n) for item in images for n in re.findall(r"\bline (\d+)", item.rejected)}
    placed = {item.path: item for item in images if not item.rejected}
    read = set(range(header + 2, len(lines) + 1)) - told
    unplaceable = sum(item.rejected.startswith("no country") for item in images)
    assert len(read) == len(placed) + unplaceable, f"rows {sorted(read)} for {sorted(placed)}"
    for path, item in placed.items():
        found = [n for n in read if _says(source, lines, header, n, path, item)]
        assert found, f"{path} is at {item.latitude}, {item.longitude}, which no line says"
        others = [n for n, place in places.items() if place == (item.latitude, item.longitude)]
        if not source.file_column and source.kind == "coordinates_table":
            assert others in ([], [path]), f"{path} has the place of {others}"
    return "read" if not told else "rows rejected"


def _says(
    source: Source, lines: list[str], header: int, number: int, path: str, item: Listed
) -> bool:
    """Whether a line by itself gives an image its place."""
    for separator in SEPARATORS:
        names, cells = (
            [c.strip() for c in next(csv.reader([line], delimiter=separator), [])]
            for line in (lines[header], lines[number - 1])
        )
        if "latitude" not in names or len(cells) != len(names):
            continue
        row = dict(zip(names, cells, strict=True))
        try:
            place = float(row["latitude"]), float(row["longitude"])
        except (ValueError, KeyError):
            continue
        if place != (item.latitude, item.longitude):
            continue
        if "file" in row and (source.file_column or source.kind == "metadata_table"):
            return _same(row["file"], path, source.kind == "metadata_table")
        return number - header - 2 == int(Path(path).stem)
    return False


def _same(name: str, path: str, ids: bool) -> bool:
    """Whether a cell means an image; ids may lack folders and the suffix."""
    name, path = (unicodedata.normalize("NFC", n).replace("\\", "/") for n in (name, path))
    name = re.sub(r"(^|/)(\./|/)+", r"\1", name)
    if not ids:
        return name == path
    ends = {name}
    if Path(name).suffix.lower() in EXTENSIONS:
        ends.add(name.rpartition(".")[0])
    whole = (path, path.rpartition(".")[0])
    return any(f"/{full}".endswith(f"/{end}") for full in whole for end in ends)


def _parquet(rng: np.random.Generator, source: Source, places: dict, present: list[str]) -> str:
    """A damaged Parquet file: it has no checksums, so that only its images are counted."""
    frame = pd.DataFrame([(name, *place) for name, place in places.items()], columns=COLUMNS[:3])
    path = source.path / "table.parquet"
    frame.to_parquet(path)
    damaged = rng.random() < 0.8
    if damaged:
        path.write_bytes(mutate(rng, path.read_bytes()))
    images = _listed(replace(source, table=path.name), present)
    if images is None:
        return "Parquet refused"
    if not damaged:
        placed = {i.path: (i.latitude, i.longitude) for i in images if not np.isnan(i.latitude)}
        assert placed == {name: places[name] for name in placed}
    return "Parquet read"
