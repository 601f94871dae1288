"""Split the images of a country with split-folders."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from geoloc.errors import InputError

SPLITS = ("train", "val", "test")


def unique_names(paths: Sequence[str]) -> list[str]:
    """Return the last part of each path, with a number before the suffix if it occurred already
    (`a.jpg`, `a~1.jpg`).

    Args:
        paths: relative to the folder of a source, with `/` between their parts.
    """
    names, taken = [], set()
    tried: Counter[str] = Counter()  # repetitions of a name, all of which are taken
    for path in paths:
        last = name = path.rpartition("/")[2]
        while name in taken:
            tried[last] += 1
            name = f"{PurePosixPath(last).stem}~{tried[last]}{PurePosixPath(last).suffix}"
        taken.add(name)
        names.append(name)
    return names


def split_names(names: Sequence[str], seed: int, ratio: Sequence[float]) -> dict[str, str]:
    """Assign each file name of one country to `train`, `val` or `test`.

    The study ran split-folders (seed 42, 80/10/10) on its image folders: it sorts the names of a
    folder, shuffles them with the seed and cuts the list. This does the same without a folder,
    because millions of files take long to create.

    Args:
        names: unique file names of one country.
        seed: draws the split.
        ratio: shares of the three splits, which add up to 1.

    Raises:
        InputError: if a name occurs twice.
    """
    from splitfolders.split import split_files

    if len(set(names)) != len(names):
        raise InputError("file names of a country must be unique to be split")
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    train, val = (int(share * len(shuffled)) for share in ratio[:2])
    parts = split_files(shuffled, train, train + val, use_test=True)
    return {name: split for names, split in parts for name in names}
