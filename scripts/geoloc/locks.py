"""Allow one process at a time in a folder, and say which one it is."""

from __future__ import annotations

import atexit
import errno
import fcntl
import io
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from geoloc.errors import InUse
from geoloc.files import told_if_full

log = logging.getLogger(__name__)

WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


@contextmanager
def only_one(path: str | Path, task: str) -> Iterator[None]:
    """Hold the lock file `path` in the `with` block; it names the process, its host and the time.

    The kernel releases the lock when the process ends for any reason, so lock files left by killed
    processes don't count. On a file system without locks, the block runs anyway, with a warning: a
    second process is not detected there.

    Args:
        path: the lock file. It is deleted at the end.
        task: what the block does, for the message: "training in results/study/models/cnn".

    Raises:
        InUse: if another process holds the lock; the message says which one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path, task) as file:
        try:
            with told_if_full(path):
                _write_holder(file)
            yield
        finally:
            path.unlink(missing_ok=True)


def _write_holder(file: io.TextIOBase) -> None:
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {now}")
    file.flush()


def _locked(path: Path, task: str) -> io.TextIOBase:
    """Return the open, locked lock file."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                holder = file.read() or "an unknown process"
            raise InUse(
                f"{path}: {holder} is already {task}; wait for it to end, or end it (kill, "
                "scancel), and run again"
            ) from None
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                file.close()
                raise
            log.warning(
                "%s: this file system has no locks (%s); make sure that no other process is %s",
                path,
                error.strerror,
                task,
            )
            return file
        if _is_open_at(path, file):
            return file
        file.close()  # its holder deleted it between our opening and locking


def hold_while_running(path: str | Path) -> io.TextIOBase | None:
    """Hold a lock file with the name of this process until it ends; `interrupted` reads it.

    A process that ends normally deletes the file. Returns None if another process holds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = _locked(path, "running")
    except InUse:
        return None
    with told_if_full(path):
        _write_holder(file)
    atexit.register(path.unlink, missing_ok=True)
    return file


def interrupted(path: str | Path) -> str:
    """Say which process runs the workflow, or ran it until it was killed, and what to do.

    `path` is a file of `hold_while_running`; empty if it does not exist.
    """
    try:
        with Path(path).open("r+", encoding="utf-8") as file:
            who = file.read() or "an unknown process"
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"{who} is running this here; wait for it to end, or end it, and run again"
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{who} ran this here ({path}: {error.strerror}); if it ended, {UNLOCK}"
    return f"{who} ran this here and was killed, so that its lock is left; {UNLOCK}"


UNLOCK = "once its jobs ended, too, type `snakemake --unlock` and run again"


def _is_open_at(path: Path, file: io.TextIOBase) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
