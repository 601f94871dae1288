"""A file object for HDF5 whose writes never fail.

HDF5 buffers data and metadata until a file is closed. If it can't write them then, as on a full
disk, it tries again when the process ends, and crashes. A Sink therefore remembers the first
failure, drops all later writes, and reports the failure when HDF5 is done.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType


class Sink:
    """A new, empty file at `path`, with the methods that h5py expects of a file object."""

    def __init__(self, path: str | Path) -> None:
        self._file = Path(path).open("w+b", buffering=0)  # noqa: SIM115  closed by `with`
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the OSError of the first failed write, if any."""
        if self._error is not None:
            raise self._error

    def write(self, data: bytes) -> int:
        view = memoryview(data).cast("B")
        try:
            while self._error is None and len(view):
                view = view[self._file.write(view) :]
        except OSError as error:
            self._error = error
        return len(data)

    def truncate(self, size: int) -> int:
        try:
            if self._error is None:
                self._file.truncate(size)
        except OSError as error:
            self._error = error
        return size

    def readinto(self, buffer: memoryview) -> int:
        return self._file.readinto(buffer)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: the file is unbuffered."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
