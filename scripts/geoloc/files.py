"""Files that are complete or absent."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from geoloc.errors import FileError

log = logging.getLogger(__name__)

FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def told_if_full(path: str | Path) -> Iterator[None]:
    """Name the file that could not be written if the `with` block fails because the disk is full.

    Libraries report this in many ways, some with an exception other than OSError or without saying
    so; then the free space decides.

    Raises:
        OSError: with the errno ENOSPC or EDQUOT.
    """
    try:
        yield
    except Exception as error:
        if number := _full(error, Path(path).parent):
            raise FileError(
                number,
                "no room left on the disk or in its quota; make room and run again",
                str(path),
            ) from error
        raise


def _full(error: Exception, folder: Path) -> int:
    """Return the errno of a full disk or quota, or 0."""
    if isinstance(error, OSError) and error.errno:
        return error.errno if error.errno in FULL else 0
    told = [number for number in FULL if os.strerror(number) in str(error)]
    if told or not isinstance(error, OSError | RuntimeError):
        return told[0] if told else 0
    return 0 if os.statvfs(folder).f_bavail else errno.ENOSPC


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path next to `path` and rename it to `path` on success.

    If the job is killed or the disk is full, `path` is unchanged. The temporary name keeps the
    suffix, because some writers choose the format by it. The file is flushed to disk before the
    rename, so a machine crash can't leave an empty file under the final name.

    Raises:
        OSError: if the disk is full; it names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    _remove_partial(path.parent, f".{path.stem}.", f".partial{path.suffix}")
    try:
        with told_if_full(path):
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder next to `path` and rename it to `path`, with its files, on success.

    Until then, an existing `path` is unchanged. The files are flushed to disk before the rename, as
    by `atomic_path`; an error leaves nothing behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    _remove_partial(path.parent, f".{path.name}.", ".partial")
    try:
        yield temporary
        for file in filter(Path.is_file, temporary.rglob("*")):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_partial(folder: Path, start: str, end: str) -> None:
    """Delete what killed processes left of a file or folder.

    Its name has their process number between `start` and `end`. No other job, on any machine,
    writes the same path now.
    """
    for name in _partials(os.path.abspath(folder), os.getpid()):
        number = name[len(start) : -len(end)]
        if not (name.startswith(start) and name.endswith(end) and number.isdecimal()):
            continue
        path = folder / name
        if not _is_running(int(number)) and os.path.lexists(path):
            log.info("deleting %s, which a killed job left", path)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@cache
def _partials(folder: str, process: int) -> list[str]:
    """List the unfinished files of a folder, once a process: it may write thousands of files there.

    `process` is the number of this process; it makes a fork list them again.
    """
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if ".partial" in entry.name]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def utf8_name(name: str) -> str:
    """Return a file name that can be written to a table: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def on_one_line(path: str | Path) -> str:
    """Return a path for people to read: line breaks and other control characters are escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in str(path)
    )


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
