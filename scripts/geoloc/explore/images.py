"""The images of a run as columns, so that 75,000 of them take a few megabytes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from geoloc.corpus.index_tables import read_rows
from geoloc.errors import FileError
from geoloc.explore.requests import Refused

COLUMNS = ["image_id", "source", "path", "latitude", "longitude", "collection", "country", "split",
           "shard"]  # fmt: skip
CODED = ("source", "collection", "country", "split", "shard")
STREET = "street"


class Images:
    """All readable images of the index, n of them, in its order.

    Args:
        folder: results/{run}.

    Raises:
        FileError: if the index can't be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / "index/images.parquet"
        try:
            table = pq.read_table(path, columns=COLUMNS)
        except (OSError, pa.ArrowException) as error:
            raise FileError(f"{path} can't be read ({error}); run snakemake again") from error
        table = table.filter(self._readable(table))
        self.ids = table["image_id"].combine_chunks()
        self.places = np.stack([table[name].to_numpy() for name in ("latitude", "longitude")], 1)
        self.names: dict[str, list[str]] = {}
        self.codes: dict[str, np.ndarray] = {}
        for name in CODED:
            coded = table[name].combine_chunks().dictionary_encode()
            self.names[name] = coded.dictionary.to_pylist()
            self.codes[name] = coded.indices.to_numpy(zero_copy_only=False).astype(np.int32)

    def _readable(self, table: pa.Table) -> pa.Array:
        """Which rows are not in quarantine."""
        path = self._folder / "quarantine.csv"
        rows = read_rows(path) if path.exists() else []
        excluded = pa.array([f"{row['source']}\n{row['path']}" for row in rows], pa.string())
        keys = pc.binary_join_element_wise(table["source"], table["path"], "\n")
        return pc.invert(pc.is_in(keys, excluded))

    def __len__(self) -> int:
        return len(self.ids)

    def value(self, name: str, n: int) -> str:
        """Return a coded column of image n."""
        return self.names[name][self.codes[name][n]]

    def id_of(self, n: int) -> str:
        """Return the id of image n. Raises Refused if there is none."""
        if not 0 <= n < len(self):
            raise Refused(404, f"there is no image {n}; the run has {len(self):,}")
        return self.ids[n].as_py()

    def positions(self, ids: pa.Array | Iterable[str]) -> np.ndarray:
        """Return the position of each id, int64; -1 where it is no image of the run."""
        wanted = ids if isinstance(ids, pa.Array) else pa.array(list(ids), pa.string())
        found = pc.index_in(wanted.cast(self.ids.type), value_set=self.ids)
        return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)

    def mask(self, name: str, value: str) -> np.ndarray:
        """Return which images have a value in a coded column, bool (n,)."""
        if value not in self.names[name]:
            return np.zeros(len(self), bool)
        return self.codes[name] == self.names[name].index(value)

    @cached_property
    def groups(self) -> dict[str, int]:
        """Number of images by `collection/split`, test images first."""
        splits = len(self.names["split"])
        both = self.codes["collection"] * splits + self.codes["split"]
        found = {}
        for code, count in zip(*np.unique(both, return_counts=True), strict=True):
            collection = self.names["collection"][code // splits]
            found[f"{collection}/{self.names['split'][code % splits]}"] = int(count)
        order = ("street/test", "street/val", "street/train")
        first = [name for name in order if name in found]
        return {
            name: found[name] for name in [*first[:1], *sorted(found.keys() - {*order}), *first[1:]]
        }

    def store(self, n: int, stage: str) -> Path:
        """Return the file of a stage (`images`, `segments/sam`, …) that has image n."""
        street_only = not stage.startswith("images")
        folder = self._folder / stage
        if not street_only:
            folder /= self.value("collection", n)
        return folder / self.value("country", n) / f"{self.value('shard', n)}.h5"

    def is_street(self, n: int) -> bool:
        """Return whether image n is a street image, which is segmented."""
        return self.value("collection", n) == STREET
