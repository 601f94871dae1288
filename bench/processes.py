"""Measurements in processes of their own, so that each has its own peak of memory."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path


def in_process(function: Callable[..., dict], *arguments) -> dict:
    """What `function`, of a module's top level, returns in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def peak_memory() -> float:
    """GiB of main memory that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def private_memory() -> float:
    """GiB that this process itself holds; pages of mapped files are the system's and can go."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 2**20
    return float("nan")
