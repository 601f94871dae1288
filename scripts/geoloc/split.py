"""Training, validation and test images of a country, as by split-folders."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

SPLITS = ("train", "val", "test")


def unique_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path, made unique where two are the same by the number of the
    repetition before the suffix (`a.jpg`, `a~1.jpg`)."""
    names, taken = [], set()
    for path in map(Path, paths):
        name, repetition = path.name, 0
        while name in taken:
            repetition += 1
            name = f"{path.stem}~{repetition}{path.suffix}"
        taken.add(name)
        names.append(name)
    return names


def split_names(names: Sequence[str], seed: int, ratio: Sequence[float]) -> dict[str, str]:
    """Assign each file name of one country to `train`, `val` or `test`.

    The study ran split-folders (seed 42, 80/10/10) on its image folders. That package shuffles the
    sorted file names of a country with the seed and moves files; here is the same without a file,
    since a tree of millions takes hours. `ratio` are three shares that add up to 1. Raises
    ValueError where names repeat.
    """
    if len(set(names)) != len(names):
        raise ValueError("file names of a country must be unique to be split")
    order = sorted(names)
    random.Random(seed).shuffle(order)
    train = int(ratio[0] * len(order))
    val = train + int(ratio[1] * len(order))
    parts = zip(SPLITS, (order[:train], order[train:val], order[val:]), strict=True)
    return {name: split for split, part in parts for name in part}
