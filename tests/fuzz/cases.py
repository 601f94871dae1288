"""One case of a target, with bounds on its time and memory."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from geoloc.logs import expected_at

TARGETS = ("archives", "tables", "journals", "stores")
SECONDS = 10  # of CPU time for one case; the slowest honest one takes a tenth of it
WAIT = 120  # seconds in which a case must end, however busy the machine is
MEMORY = 512 << 20  # bytes by which the peak of the process may exceed its size before the case
SHOWN = 4000  # characters of a traceback


class TooSlow(BaseException):
    """A case took longer than it may. No `except Exception` catches it."""


@dataclass(frozen=True)
class Result:
    """What became of a case. `finding` is "" for an outcome that is allowed."""

    outcome: str
    finding: str = ""


def available() -> list[str]:
    """Names of the targets whose module exists."""
    return [name for name in TARGETS if importlib.util.find_spec(f"tests.fuzz.{name}")]


def load(target: str) -> ModuleType:
    """The module of a target."""
    return import_module(f"tests.fuzz.{target}")


def generator(target: str, seed: int, number: int) -> np.random.Generator:
    """Random numbers that depend on nothing but target, seed and number of a case."""
    return np.random.default_rng([seed, zlib.crc32(target.encode()), number])


def run_case(target: ModuleType, rng: np.random.Generator) -> Result:
    """Run a case in a new folder, which is deleted afterwards.

    Only in the main thread, as it sets alarms. A target may set bounds of its own, as SECONDS, WAIT
    and MEMORY.
    """
    seconds, wait = getattr(target, "SECONDS", SECONDS), getattr(target, "WAIT", WAIT)
    memory = getattr(target, "MEMORY", MEMORY)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, _peak() as peak:
        try:
            with _alarms(seconds, wait):
                outcome = target.case(rng, Path(folder))
        except TooSlow:
            limits = f"more than {seconds} s of CPU time, or {wait} s in all"
            return Result("too slow", f"{limits}\n{_shown(traceback.format_exc())}")
        except Exception as error:
            if not expected_at(error, error.__traceback__):
                return Result(type(error).__name__, _shown(traceback.format_exc()))
            outcome = type(error).__name__
    if peak() > memory:
        return Result("too much memory", f"{outcome}, with {peak() >> 20} MiB more than before")
    return Result(outcome)


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}\n...\n{text[-SHOWN // 2 :]}"


@contextlib.contextmanager
def _alarms(seconds: float, wait: float) -> Iterator[None]:
    """Raise TooSlow in the block after `seconds` of CPU time or `wait` seconds in all."""

    def stop(number, frame):
        raise TooSlow

    limits = (
        (signal.SIGPROF, signal.ITIMER_PROF, seconds),
        (signal.SIGALRM, signal.ITIMER_REAL, wait),
    )
    before = [signal.signal(number, stop) for number, _, _ in limits]
    # Repeated, as an exception inside a destructor or a callback of C code is dropped.
    for _, timer, limit in limits:
        signal.setitimer(timer, limit, 1)
    try:
        yield
    finally:
        for _, timer, _ in limits:
            signal.setitimer(timer, 0)
        for (number, _, _), handler in zip(limits, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _peak() -> Iterator[Callable[[], int]]:
    """Gives a function that returns by how many bytes the peak of the resident memory exceeds the
    size at the beginning. Linux resets the peak on request; elsewhere nothing is
    measured."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmHWM")
    yield lambda: _status("VmHWM") - before


def _status(key: str) -> int:
    """Bytes of an entry in /proc/self/status, 0 where the system has none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) << 10
    return 0


def reproduce(target: str, seed: int, number: int) -> str:
    """The command that runs a case again."""
    return (
        "PYTHONPATH=scripts .venv/bin/python -m tests.fuzz "
        f"--target {target} --seed {seed} --only {number}"
    )
