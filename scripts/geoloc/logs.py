"""Logging of the workflow's scripts."""

from __future__ import annotations

import atexit
import logging
import sys
from pathlib import Path


def start_log(path: str | Path) -> logging.Logger:
    """Log to the job's log file and to stderr, uncaught exceptions and packages used included."""
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
    atexit.register(log_packages, log)
    return log


def log_packages(log: logging.Logger) -> None:
    """A line for each folder that packages were imported from, with their versions: whether a job
    in a container used those of the container is seen here."""
    for folder, packages in imported_packages().items():
        log.info("packages of %s: %s", folder, ", ".join(packages))


def imported_packages() -> dict[str, list[str]]:
    """Folder -> name and version of each package imported from it, of those that tell a version."""
    folders: dict[str, list[str]] = {}
    for name, module in sorted(sys.modules.items()):
        version = getattr(module, "__version__", None)
        path = getattr(module, "__file__", None)
        if not isinstance(version, str) or not path or "." in name:
            continue
        if name not in sys.stdlib_module_names:
            folder = Path(path).parents[1 if hasattr(module, "__path__") else 0]
            folders.setdefault(str(folder), []).append(f"{name} {version}")
    return folders
