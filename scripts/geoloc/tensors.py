"""Check that a weights file has exactly the tensors an architecture needs, all finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geoloc.errors import FileError

NAMED = 3  # tensors of each kind named in a message


def all_finite(values: Any) -> bool:
    """Return whether an array holds only numbers, none of them NaN or infinite."""
    values = np.asarray(values)
    return bool(np.issubdtype(values.dtype, np.number) and np.isfinite(values).all())


def check_tensors(
    path: str | Path,
    architecture: str,
    expected: Mapping[str, Sequence[int]],
    found: Mapping[str, Any],
    remedy: str,
    finite: Callable[[Any], bool] = all_finite,
) -> None:
    """Check the tensors of a weights file.

    Args:
        path: the file, for the message.
        architecture: what the weights are for, for the message.
        expected: shape of each tensor that the architecture needs, by name.
        found: arrays of the file by name; anything with a shape that `finite` understands.
        remedy: what to do about a wrong file, for the message.
        finite: returns whether an array is finite.

    Raises:
        OSError: names the tensors that are missing, unexpected, of another shape or not finite.
    """
    both = expected.keys() & found.keys()
    shapes = {name: tuple(found[name].shape) for name in both}
    fitting = {name for name in both if shapes[name] == tuple(expected[name])}
    faults = {
        "missing": expected.keys() - both,
        "unexpected": found.keys() - both,
        "of another shape": [
            f"{name} {shapes[name]} for {tuple(expected[name])}" for name in both - fitting
        ],
        "not finite": [name for name in fitting if not finite(found[name])],
    }
    if told := "; ".join(f"{kind}: {_some(names)}" for kind, names in faults.items() if names):
        raise FileError(f"{path}: not the weights of {architecture} ({told}); {remedy}")


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
