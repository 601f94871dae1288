"""The `images` stores that were used last, held open: a page's images lie in one or two of them."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

from geoloc.errors import FileError
from geoloc.stores import open_store

MOST = 4  # stores that are open at the same time


class OpenImages:
    """Reads encoded images by id. Several threads may use it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: OrderedDict[Path, tuple] = OrderedDict()

    def read(self, path: Path, image_id: str) -> bytes:
        """Return the encoded bytes of an image of a store.

        Raises:
            StoreError: if the store is missing or not what was written.
            FileError: if it has no such image.
        """
        with self._lock:
            store, rows = self._store(path)
            if image_id not in rows:
                raise FileError(f"{path} has no image {image_id}; run snakemake again")
            row = rows[image_id]
            start, stop = store.columns["offsets"][row : row + 2]
            data = store.read("image", start, stop)
            store.check_row(row, [data], "")
            return data.tobytes()

    def _store(self, path: Path) -> tuple:
        if path not in self._open:
            stack = ExitStack()
            store = stack.enter_context(open_store(path, "images"))
            rows = {name: row for row, name in enumerate(store.columns["image_id"].tolist())}
            self._open[path] = stack, store, rows
            if len(self._open) > MOST:
                _, (oldest, *_) = self._open.popitem(last=False)
                oldest.close()
        self._open.move_to_end(path)
        return self._open[path][1:]
