"""Measurements in separate processes, so that each has its own peak memory."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path


def in_process(function: Callable[..., dict], *arguments) -> dict:
    """Return the result of `function`, at the top level of a module, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def peak_memory() -> float:
    """Return the peak main memory of this process in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def private_memory() -> float:
    """Return the GiB that this process itself holds, without pages of mapped files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 2**20
    return float("nan")
