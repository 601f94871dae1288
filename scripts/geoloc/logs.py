"""Logging of the workflow's scripts."""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from geoloc.errors import GeolocError
from geoloc.gpus import describe_cpu

# Shortages of the machine that can occur in any call: space, permissions.
OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


WARNINGS_ON_STDERR = 3
PACKAGES = "geoloc.packages"  # the logger for what is too much for the terminal


class _LogFile(logging.FileHandler):
    """A log file whose lines go to stderr if the disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  name of logging
        error = sys.exc_info()[1]
        if not (isinstance(error, OSError) and error.errno in OF_THE_MACHINE):
            super().handleError(record)
        elif record.levelno < logging.WARNING and record.name != PACKAGES:  # stderr has these
            print(self.format(record), file=sys.stderr)


class _Console(logging.StreamHandler):
    """Warnings and errors of a job on stderr, which all jobs of a run share.

    It shows only the first warnings, because a shard may have one for each image.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.setLevel(logging.WARNING)
        self.path, self.warnings = path, 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self.warnings += 1
            if self.warnings == WARNINGS_ON_STDERR + 1:
                print(f"More warnings are in {self.path}", file=sys.stderr)
            if self.warnings > WARNINGS_ON_STDERR:
                return
        super().emit(record)


@contextlib.contextmanager
def native_stderr_hidden() -> Iterator[None]:
    """Hide what C++ libraries write to stderr, past `sys.stderr`; an exception shows it."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def start_log(path: str | Path) -> logging.Logger:
    """Log to the job's log file; warnings, errors and uncaught exceptions also go to stderr.

    The file ends with the machine and the packages that were used. An expected error (see
    `expected_at`) ends the log with its message, any other with its traceback. In both cases stderr
    gets one line: Snakemake shows the log of a failed job there anyway (`show-failed-logs` in
    profiles/).
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    file, console = _LogFile(path, mode="w", encoding="utf-8"), _Console(path)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        handlers=[file, console],
        force=True,
    )
    log = logging.getLogger("geoloc")

    def log_exception(kind, error, traceback):
        atexit.unregister(log_origin)  # the error is the last thing to be logged
        place = expected_at(error, traceback)
        message = f"{error} ({place})" if place else f"{kind.__name__}: {error}"
        log.error("%s", message)
        if not place:
            record = logging.LogRecord(
                log.name,
                logging.ERROR,
                __file__,
                0,
                "where it happened",
                (),
                (kind, error, traceback),
            )
            file.handle(record)

    sys.excepthook = log_exception
    packages = logging.getLogger(PACKAGES)
    packages.handlers, packages.propagate = [file], False
    atexit.register(log_origin, packages)
    return log


def expected_at(error: BaseException, traceback: TracebackType | None) -> str:
    """Return where an error meant for the user was raised, as `stores.py, line 69`, or "".

    A GeolocError is written for the user. So are a full disk and missing permissions, wherever they
    occur. Everything else is a bug, which only a traceback explains.
    """
    if traceback is None:
        return ""
    while traceback.tb_next:
        traceback = traceback.tb_next
    of_the_machine = isinstance(error, OSError) and error.errno in OF_THE_MACHINE
    if not (of_the_machine or isinstance(error, GeolocError)):
        return ""
    return f"{Path(traceback.tb_frame.f_code.co_filename).name}, line {traceback.tb_lineno}"


def log_origin(log: logging.Logger) -> None:
    """Log the machine that a job ran on, and its packages."""
    log.info("ran on %s: %s", platform.node(), describe_cpu())
    log_packages(log)


def log_packages(log: logging.Logger) -> None:
    """Log each folder that packages were imported from, with their versions.

    It shows whether a job in a container used the container's packages.
    """
    for folder, packages in imported_packages().items():
        log.info("packages of %s: %s", folder, ", ".join(packages))


def imported_packages() -> dict[str, list[str]]:
    """Return folder -> name and version of each imported package that states its version."""
    folders: dict[str, list[str]] = {}
    for name, module in sorted(sys.modules.items()):
        try:
            version = getattr(module, "__version__", None)
        except Exception:  # some modules look up their version on access, and may fail
            continue
        path = getattr(module, "__file__", None)
        if not isinstance(version, str) or not path or "." in name:
            continue
        if name not in sys.stdlib_module_names:
            folder = Path(path).parents[1 if hasattr(module, "__path__") else 0]
            folders.setdefault(str(folder), []).append(f"{name} {version}")
    return folders
