"""Damaged stores: a reader gives what was written or names the file, and never anything else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np

from geoloc.stores import StoreError
from geoloc.stores.layouts import LAYOUTS
from tests.fuzz.mutations import mutate
from tests.small_stores import content, write_small

SCHEMAS = tuple(LAYOUTS)
PAGE = 4096


@cache
def whole(schema: str, seed: int) -> tuple[bytes, list]:
    """A store as bytes, and all that it holds."""
    with TemporaryDirectory() as folder:
        path = write_small(Path(folder), schema, seed)
        return path.read_bytes(), content(path, schema)


def case(rng: np.random.Generator, folder: Path) -> str:
    """One damaged store. Raises AssertionError if other content than was written is read."""
    schema = SCHEMAS[rng.integers(len(SCHEMAS))]
    data, expected = whole(schema, 0)
    path = folder / "store.h5"
    path.write_bytes(data)
    damage = DAMAGES[rng.integers(len(DAMAGES))]
    damage(rng, path, schema)
    try:
        found = content(path, schema)
    except StoreError as error:
        if str(path) not in str(error):
            raise AssertionError(f"{damage.__name__}: the file is not named") from error
        return f"{damage.__name__}: {type(error).__name__}"
    if found != expected:
        raise AssertionError(f"{damage.__name__} of {schema}: other content than was written")
    return f"{damage.__name__}: as written"


def bytes_mutated(rng: np.random.Generator, path: Path, schema: str) -> None:
    path.write_bytes(mutate(rng, path.read_bytes()))


def metadata_flipped(rng: np.random.Generator, path: Path, schema: str) -> None:
    """Bytes near those that a dataset or group is described by, where HDF5 has crashed."""
    data = bytearray(path.read_bytes())
    marks = [
        m
        for word in (b"OHDR", b"OCHK", b"FHDB", b"EAHD", b"\x89HDF", b"TREE", b"EAIB")
        for m in places(data, word)
    ]
    for _ in range(rng.integers(1, 6)):
        at = int(marks[rng.integers(len(marks))] + rng.integers(0, 400))
        if at < len(data):
            data[at] = rng.integers(256)
    path.write_bytes(data)


def places(data: bytes, word: bytes) -> list[int]:
    found, at = [], data.find(word)
    while at >= 0:
        found.append(at)
        at = data.find(word, at + 1)
    return found


def page_lost(rng: np.random.Generator, path: Path, schema: str) -> None:
    """Pages of zeros, of noise, or of another store of the kind."""
    data, other = bytearray(path.read_bytes()), whole(schema, 1)[0]
    for _ in range(rng.integers(1, 4)):
        at = PAGE * int(rng.integers(len(data) // PAGE))
        page = (bytes(PAGE), rng.bytes(PAGE), other[at : at + PAGE])[rng.integers(3)]
        data[at : at + len(page)] = page
    path.write_bytes(data)


def edited(rng: np.random.Generator, path: Path, schema: str) -> None:
    """Datasets and attributes changed through h5py, whose metadata are valid then."""
    with h5py.File(path, "r+", libver="latest") as file:
        for _ in range(rng.integers(1, 3)):
            edit = EDITS[rng.integers(len(EDITS))]
            # What h5py itself refuses to do is no damage.
            with contextlib.suppress(
                TypeError, ValueError, OSError, KeyError, RuntimeError, AttributeError
            ):
                edit(rng, file)
            if edit is _resize:  # it may have terabytes now, which no other edit could read
                break


def _name(rng: np.random.Generator, file: h5py.File) -> str:
    names = sorted(file)
    return names[rng.integers(len(names))]


def _set_values(rng: np.random.Generator, file: h5py.File) -> None:
    dataset = file[_name(rng, file)]
    values = dataset[()]
    flat = np.frombuffer(bytearray(values.tobytes()), np.uint8)
    flat[rng.integers(len(flat), size=rng.integers(1, 9))] = rng.integers(256)
    dataset[...] = flat.view(values.dtype).reshape(values.shape)


def _swap_rows(rng: np.random.Generator, file: h5py.File) -> None:
    dataset = file[_name(rng, file)]
    values = dataset[()]
    dataset[...] = values[rng.permutation(len(values))]


def _resize(rng: np.random.Generator, file: h5py.File) -> None:
    file[_name(rng, file)].resize(int(2 ** rng.uniform(0, 50)), axis=0)


def _store_otherwise(rng: np.random.Generator, file: h5py.File) -> None:
    name = _name(rng, file)
    values = file[name][()]
    kinds = (values.dtype, "f4", "i8", "u1", "S9", ">i4", "c16", "?")
    options = (
        {}, {"chunks": True}, {"compression": "gzip"}, {"fletcher32": True}, {"scaleoffset": 0},
        {"shuffle": True}, {"maxshape": (None,) * values.ndim},
    )  # fmt: skip
    kind, option = kinds[rng.integers(len(kinds))], options[rng.integers(len(options))]
    del file[name]
    file.create_dataset(name, data=values.astype(kind), **option)


def _relink(rng: np.random.Generator, file: h5py.File) -> None:
    name, other = _name(rng, file), _name(rng, file)
    targets = (h5py.SoftLink(f"/{other}"), h5py.ExternalLink(file.filename, other), file[other],
               h5py.SoftLink(f"/{name}"), h5py.Empty("f4"))  # fmt: skip
    target = targets[rng.integers(len(targets))]
    del file[name]
    file[name] = target


def _change_attribute(rng: np.random.Generator, file: h5py.File) -> None:
    names = sorted(file.attrs)
    name = names[rng.integers(len(names))]
    values = ("x", 1, 2.5, [1, 2], np.bytes_(b"x" * 64), h5py.Empty("S9"))
    file.attrs[name] = values[rng.integers(len(values))]


def _delete(rng: np.random.Generator, file: h5py.File) -> None:
    place = (file, file.attrs)[rng.integers(2)]
    names = sorted(place)
    del place[names[rng.integers(len(names))]]


EDITS = (_set_values, _swap_rows, _resize, _store_otherwise, _relink, _change_attribute, _delete)
DAMAGES: tuple[Callable[[np.random.Generator, Path, str], None], ...] = (
    bytes_mutated,
    metadata_flipped,
    page_lost,
    edited,
)
