"""Measurements in separate processes, so that each has its own peak memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path


def in_process(function: Callable[..., dict], *arguments) -> dict:
    """Return the result of `function`, at the top level of a module, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def peak_memory() -> float:
    """Return the peak main memory of this process in GiB.

    `ru_maxrss` would count that of the process which started it, too.
    """
    return _status("VmHWM")


def reset_peak_memory() -> None:
    """Let `peak_memory` count from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def private_memory() -> float:
    """Return the GiB that this process itself holds, without pages of mapped files."""
    return _status("RssAnon")


def _status(key: str) -> float:
    """Return a value of /proc/self/status in GiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 2**20
    return float("nan")
