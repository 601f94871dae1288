"""The speed of running jobs, from the last lines of their log files (geoloc.progress)."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

RATE = re.compile(r"([\d.]+) ([a-z]+)/s\b")
LEFT = re.compile(r"(?:(\d+) h )?(?:(\d+) min )?(?:(\d+) s )?left\b")
TAIL = 4096  # bytes


@dataclass
class Speed:
    """Rates per second by unit, and the seconds left of the job that takes longest."""

    rates: Counter = field(default_factory=Counter)
    left: float | None = None

    def __add__(self, other: Speed) -> Speed:
        left = [seconds for seconds in (self.left, other.left) if seconds is not None]
        return Speed(self.rates + other.rates, max(left, default=None))


def read_speed(logs: list[str], started: float) -> Speed:
    """Return the speed of a job that started at `started` (seconds since 1970).

    It is empty if the log does not exist, is of an earlier run, or has no speed.
    """
    for log in logs:
        try:
            if Path(log).stat().st_mtime < started - 1:
                continue
            with open(log, "rb") as file:
                file.seek(max(0, file.seek(0, 2) - TAIL))
                lines = file.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in reversed(lines):
            if rate := RATE.search(line):
                return Speed(Counter({rate[2]: float(rate[1])}), _left(line))
    return Speed()


def _left(line: str) -> float | None:
    found = LEFT.search(line)
    if not found or not any(found.groups()):
        return None
    hours, minutes, seconds = (int(number or 0) for number in found.groups())
    return 3600 * hours + 60 * minutes + seconds
