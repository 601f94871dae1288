"""Logging of the workflow's scripts."""

from __future__ import annotations

import logging
import sys
from pathlib import Path


def start_log(path: str | Path) -> logging.Logger:
    """Log to the job's log file and to stderr, uncaught exceptions included."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[logging.FileHandler(path, mode="w", encoding="utf-8"), logging.StreamHandler()],
        force=True,
    )
    log = logging.getLogger("geoloc")

    def log_exception(kind, error, traceback):
        log.error("%s: %s", kind.__name__, error, exc_info=(kind, error, traceback))

    sys.excepthook = log_exception
    return log
