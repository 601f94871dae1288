"""Split the images of a country with split-folders."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from geoloc.errors import InputError

SPLITS = ("train", "val", "test")


def unique_names(paths: Sequence[str]) -> list[str]:
    """Return the last part of each path, with a number before the suffix if it occurred already
    (`a.jpg`, `a~1.jpg`)."""
    names, taken = [], set()
    tried: Counter[str] = Counter()  # repetitions of a name, all of which are taken
    for path in map(Path, paths):
        name = path.name
        while name in taken:
            tried[path.name] += 1
            name = f"{path.stem}~{tried[path.name]}{path.suffix}"
        taken.add(name)
        names.append(name)
    return names


def split_names(names: Sequence[str], seed: int, ratio: Sequence[float]) -> dict[str, str]:
    """Assign each file name of one country to `train`, `val` or `test`.

    The study ran split-folders (seed 42, 80/10/10) on its image folders. The same functions decide
    here, on empty files with the same names, without moving them, which takes most of its time.

    Args:
        names: unique file names of one country.
        seed: draws the split.
        ratio: shares of the three splits, which add up to 1.

    Raises:
        InputError: if a name occurs twice.
    """
    from splitfolders.split import setup_files, split_files

    if len(set(names)) != len(names):
        raise InputError("file names of a country must be unique to be split")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_WRONLY))
        shuffled = setup_files(folder, seed)
    train, val = (int(share * len(shuffled)) for share in ratio[:2])
    parts = split_files(shuffled, train, train + val, use_test=True)
    return {file.name: split for files, split in parts for file in files}
