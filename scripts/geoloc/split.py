"""Training, validation and test images of a country, by split-folders."""

from __future__ import annotations

import contextlib
import io
import tempfile
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

    The study ran split-folders (seed 42, 80/10/10) on its image folders. That package decides by
    the sorted file names alone, so it is run here on empty files of the same names, and a country
    is split by itself. Raises ValueError where names repeat.
    """
    import splitfolders

    if len(set(names)) != len(names):
        raise ValueError("file names of a country must be unique to be split")
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stderr(io.StringIO()):
        folder, target = Path(temporary, "all", "country"), Path(temporary, "split")
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
        splitfolders.ratio(folder.parent, target, seed, tuple(ratio), move="move")
        return {f.name: split for split in SPLITS for f in (target / split / "country").iterdir()}
