"""Progress of long work as lines of a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)


def duration(seconds: float) -> str:
    """A length of time for reading: `3 s`, `4 min 10 s`, `2 h 05 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class Progress(Iterable[T]):
    """Iterate over `items` and log the rate and the time left every `interval` seconds, or every
    hundredth of the time spent where that is longer: the log of a failed job is shown whole.

    A log file is read after the fact and by several people, so lines are written instead of a bar
    that redraws itself. `note` is a text that the loop may set, shown at the end of each line.
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
        """The state of the work in one line."""
        elapsed = time.monotonic() - self.start
        rate = self.done / elapsed if elapsed > 0 else 0.0
        parts = [f"{self.done}" + (f"/{self.total}" if self.total else "") + f" {self.unit}"]
        parts.append(f"{rate:.2f} {self.unit}/s")
        if self.total and rate and self.done < self.total:
            parts.append(f"{duration((self.total - self.done) / rate)} left")
        if self.note:
            parts.append(self.note)
        return ": ".join(filter(None, [self.description, ", ".join(parts)]))
