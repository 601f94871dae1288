"""Progress of long work as log lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


def duration(seconds: float) -> str:
    """Format a duration: `3 s`, `4 min 10 s`, `2 h 05 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class Progress(Iterable[T]):
    """Iterate over `items` and regularly log the rate and the time left.

    Lines are at least `interval` seconds apart, and at least a hundredth of the time spent: the log
    of a failed job is shown in full. They are lines instead of a bar that redraws itself, because
    log files are read later and by several people. The loop may set `note`, which is appended to
    each line.
    """

    def __init__(
        self,
        items: Iterable[T],
        total: int | None = None,
        description: str = "",
        unit: str = "images",
        interval: float = 10.0,
    ) -> None:
        self.items, self.description, self.unit = items, description, unit
        self.total = len(items) if total is None and hasattr(items, "__len__") else total
        self.interval = interval
        self.note = ""

    def __iter__(self) -> Iterator[T]:
        self.done, self.start = 0, time.monotonic()
        last = self.start
        for item in self.items:
            yield item
            self.done += 1
            now = time.monotonic()
            if now - last >= max(self.interval, (now - self.start) / 100):
                last = now
                log.info(self.line())
        log.info(self.line())

    def line(self) -> str:
        """Return the state of the work in one line."""
        elapsed = time.monotonic() - self.start
        rate = self.done / elapsed if elapsed > 0 else 0.0
        parts = [f"{self.done}" + (f"/{self.total}" if self.total else "") + f" {self.unit}"]
        parts.append(f"{rate:.2f} {self.unit}/s")
        if self.total and rate and self.done < self.total:
            parts.append(f"{duration((self.total - self.done) / rate)} left")
        if self.note:
            parts.append(self.note)
        return ": ".join(filter(None, [self.description, ", ".join(parts)]))
