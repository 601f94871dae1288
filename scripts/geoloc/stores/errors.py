"""Errors of stores, each with its remedy: damaged, missing, locked or not permitted."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geoloc.errors import GeolocError

# What HDF5 reports for a file that another program has open for writing, or had when it was killed.
OPEN_FOR_WRITING = "already open for"
LOCKED = {errno.EAGAIN, errno.EDEADLK, errno.ENOLCK, errno.EOPNOTSUPP}


class StoreError(GeolocError, OSError):
    """A store can't be used. The message names the file, what is wrong and the remedy."""


class MissingStore(StoreError, FileNotFoundError):
    """A store does not exist."""


def damaged(path: str | Path, what: str) -> StoreError:
    """Return the error for a store whose content differs from what was written."""
    return StoreError(f"{path} is damaged: {what}; delete it and run snakemake again")


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn exceptions of HDF5 and the system in the `with` block into a StoreError about `path`.

    A corrupt file makes h5py raise almost any exception, so put only calls of h5py in the block.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        raise _explained(path, error) from error


def _explained(path: str | Path, error: Exception) -> StoreError:
    number = error.errno if isinstance(error, OSError) else None
    if OPEN_FOR_WRITING in str(error) or number in LOCKED:
        return StoreError(
            f"{path} is open for writing in another program, such as a notebook; close it there "
            f"and run again. If no program has it open, one was killed that had: h5clear -s {path}"
        )
    if number:
        return StoreError(
            f"{path} cannot be read ({os.strerror(number)}); check the disk that it is on and run "
            "again"
        )
    return damaged(path, f"HDF5 cannot read it ({error or type(error).__name__})")


def check_readable(path: str | Path) -> None:
    """Raise StoreError if `path` is missing, not a regular file or not readable."""
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise MissingStore(f"{path} does not exist; run snakemake to make it") from error
    except PermissionError as error:
        raise StoreError(_not_permitted(Path(path))) from error
    except OSError as error:
        raise _explained(path, error) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise StoreError(f"{path} is not a regular file; remove it and run snakemake again")
    finally:
        os.close(descriptor)


def _not_permitted(path: Path) -> str:
    """Return the message for a file that this user may not read, or a folder they may not enter."""
    closed = path
    try:
        found = path.stat()
        command = f"chmod a+r {path}"
    except PermissionError:
        closed = next(p for p in (*reversed(path.absolute().parents), path) if not _enters(p))
        found = closed.stat()
        command = f"chmod a+rx {closed}"
    who = f"mode {stat.S_IMODE(found.st_mode):o}, owner {_user(found.st_uid)}"
    whose = "" if closed == path else f" because of its folder {closed}"
    return (
        f"{path} may not be read by {_user(os.geteuid())}{whose} ({who}); run as its owner, or let "
        f"the owner permit it: {command}"
    )


def _enters(folder: Path) -> bool:
    return not folder.is_dir() or os.access(folder, os.X_OK, effective_ids=True)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
