"""Every HDF5 layout of the project: images, segments, masks and arrays.

Each file carries the attributes `schema`, `schema_version`, `config` (hash of the settings that
it was made with) and `software`; images and arrays also `digest`, of their content. Files are
written under a temporary name and renamed when complete, and they are closed between reads so that
the number of open files stays constant.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from geoloc.files import atomic_path

SCHEMA_VERSION = 2
TEXT = h5py.string_dtype("utf-8")
BYTES = h5py.vlen_dtype(np.uint8)
SCORE_SIZE = 640
ARRAY_SIZE = 224
BEST_CLASSES = 10


def config_hash(config: object) -> str:
    """A short hash of settings, independent of the order of keys."""
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def software_versions(packages: Sequence[str]) -> str:
    """`name=version` of installed packages, in one line."""
    return " ".join(f"{name}={importlib.metadata.version(name)}" for name in packages)


@contextmanager
def create_store(
    path: str | Path, schema: str, config: object = None, packages: Sequence[str] = ()
) -> Iterator[h5py.File]:
    """Create a store under a temporary name; it appears under `path` only when complete."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        file.attrs["schema"] = schema
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["config"] = config_hash(config)
        file.attrs["software"] = software_versions(["h5py", "numpy", *packages])
        yield file


@contextmanager
def open_store(path: str | Path, schema: str) -> Iterator[h5py.File]:
    """Open a store for reading.

    Raises OSError where the file is missing, cut short or not of the layout `schema`, with the
    name of the file and the remedy.
    """
    remedy = f"delete {path} and run snakemake again to make it anew"
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(f"{path} is damaged or not an HDF5 file ({error}); {remedy}") from error
    with file:
        found = file.attrs.get("schema"), file.attrs.get("schema_version")
        if found != (schema, SCHEMA_VERSION):
            raise OSError(
                f"{path} holds {found[0]} version {found[1]}, expected {schema} version "
                f"{SCHEMA_VERSION}; {remedy}"
            )
        yield file


def read_digest(path: str | Path, schema: str) -> str:
    """The digest of an images or arrays store: the same for the same content, whenever and with
    whatever settings it was made."""
    with open_store(path, schema) as file:
        return str(file.attrs["digest"])


def _texts(dataset: h5py.Dataset) -> np.ndarray:
    return dataset.asstr()[:].astype(str) if len(dataset) else np.empty(0, str)


# ------------------------------------------------------------------------------------- images


def write_images(path: str | Path, rows: Iterable[dict], config: object = None) -> int:
    """Write the `images` layout from rows with the keys image_id, image (bytes), latitude,
    longitude (NaN where unknown), split and source. Rows are written as they come, so memory does
    not grow with their number. Returns the number of images."""
    with create_store(path, "images", config, ["pillow"]) as file:
        kinds = {"image_id": TEXT, "split": TEXT, "source": TEXT, "image": BYTES}
        kinds |= {"latitude": "f8", "longitude": "f8"}
        columns = {
            name: file.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(64,))
            for name, kind in kinds.items()
        }
        count, digest = 0, hashlib.sha256()
        for count, row in enumerate(rows, start=1):  # noqa: B007
            digest.update(f"{row['image_id']}\n{len(row['image'])}\n".encode() + row["image"])
            for name, column in columns.items():
                value = row[name]
                column.resize(count, axis=0)
                column[count - 1] = np.frombuffer(value, np.uint8) if name == "image" else value
        file.attrs["digest"] = digest.hexdigest()
    return count


def read_images(
    path: str | Path, start: int = 0, image_ids: Container[str] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield (image_id, encoded bytes) of an `images` store from row `start` on; only those among
    `image_ids`, if given, are read."""
    with open_store(path, "images") as file:
        for row, image_id in enumerate(_texts(file["image_id"])[start:], start=start):
            if image_ids is None or image_id in image_ids:
                yield str(image_id), file["image"][row].tobytes()


def read_image_columns(path: str | Path) -> dict[str, np.ndarray]:
    """Everything of an `images` store but the images: image_id, split, source (n,) str; latitude,
    longitude (n,) float64."""
    with open_store(path, "images") as file:
        columns = {name: _texts(file[name]) for name in ("image_id", "split", "source")}
        return columns | {name: file[name][:] for name in ("latitude", "longitude")}


# ----------------------------------------------------------------------------------- segments


@dataclass
class Segments:
    """The masks of one image, m of them.

    size (height, width) in pixels; bbox (m, 4) int32 as x, y, width, height; area (m,) int32;
    predicted_iou and stability_score (m,) float32; counts: m arrays uint32, uncompressed COCO run
    lengths of the whole image (column by column, beginning with a run of zeros); class_id (m, 10)
    int16, ImageNet indices by falling probability, -1 where there is none; class_probability
    (m, 10) float32 in 0–1.
    """

    image_id: str
    size: tuple[int, int]
    bbox: np.ndarray
    area: np.ndarray
    predicted_iou: np.ndarray
    stability_score: np.ndarray
    counts: list[np.ndarray]
    class_id: np.ndarray
    class_probability: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)


SEGMENT_COLUMNS = {
    "bbox": ((4,), "i4"),
    "area": ((), "i4"),
    "predicted_iou": ((), "f4"),
    "stability_score": ((), "f4"),
    "class_id": ((BEST_CLASSES,), "i2"),
    "class_probability": ((BEST_CLASSES,), "f4"),
}


def write_segments(path: str | Path, images: Iterable[Segments], config: object = None) -> int:
    """Write the `segments` layout, image by image. Returns the number of images."""
    with create_store(path, "segments", config, ["torch", "segment-anything"]) as file:
        columns = {
            name: file.create_dataset(
                name, (0, *shape), kind, maxshape=(None, *shape), chunks=(1024, *shape)
            )
            for name, (shape, kind) in SEGMENT_COLUMNS.items()
        }
        counts = file.create_dataset("counts", (0,), "u4", maxshape=(None,), chunks=(65536,))
        ids, sizes, offsets, counts_offsets = [], [], [0], [0]
        for segments in images:
            for name, column in columns.items():
                _append(column, getattr(segments, name))
            for run_lengths in segments.counts:
                counts_offsets.append(counts_offsets[-1] + len(run_lengths))
            _append(counts, np.concatenate([np.empty(0, np.uint32), *segments.counts]))
            ids.append(segments.image_id)
            sizes.append(segments.size)
            offsets.append(offsets[-1] + len(segments))
        file.create_dataset("image_id", data=np.array(ids, object), dtype=TEXT)
        file.create_dataset("size", data=np.array(sizes, "i4").reshape(-1, 2))
        file.create_dataset("offsets", data=np.array(offsets, "i8"))
        file.create_dataset("counts_offsets", data=np.array(counts_offsets, "i8"))
    return len(ids)


def _append(dataset: h5py.Dataset, values: np.ndarray) -> None:
    if len(values):
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values


def read_segments(path: str | Path) -> Iterator[Segments]:
    """Yield the Segments of each image of a `segments` store, in order."""
    with open_store(path, "segments") as file:
        offsets, counts_offsets = file["offsets"][:], file["counts_offsets"][:]
        sizes = file["size"][:]
        for row, image_id in enumerate(_texts(file["image_id"])):
            start, stop = offsets[row], offsets[row + 1]
            bounds = counts_offsets[start : stop + 1]
            runs = file["counts"][bounds[0] : bounds[-1]]
            yield Segments(
                image_id=str(image_id),
                size=(int(sizes[row, 0]), int(sizes[row, 1])),
                counts=np.split(runs, bounds[1:-1] - bounds[0]) if stop > start else [],
                **{name: file[name][start:stop] for name in SEGMENT_COLUMNS},
            )


# -------------------------------------------------------------------------------------- masks


def write_masks(
    path: str | Path, score_maps: Iterable[tuple[str, np.ndarray]], config: object = None
) -> int:
    """Write the `masks` layout from (image_id, score uint8 (640, 640) in 0–100). Returns the
    number of images."""
    size = SCORE_SIZE
    with create_store(path, "masks", config) as file:
        score = file.create_dataset(
            "score", (0, size, size), "u1", maxshape=(None, size, size), chunks=(1, size, size),
            shuffle=True, compression="gzip", compression_opts=4,
        )  # fmt: skip
        ids = []
        for image_id, score_map in score_maps:
            _append(score, score_map[None])
            ids.append(image_id)
        file.create_dataset("image_id", data=np.array(ids, object), dtype=TEXT)
    return len(ids)


def read_masks(
    path: str | Path, image_ids: Container[str] | None = None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (image_id, score uint8 (640, 640)) of a `masks` store, in order; only those among
    `image_ids`, if given, are read."""
    with open_store(path, "masks") as file:
        for row, image_id in enumerate(_texts(file["image_id"])):
            if image_ids is None or image_id in image_ids:
                yield str(image_id), file["score"][row]


# ------------------------------------------------------------------------------------- arrays


def write_arrays(
    path: str | Path,
    columns: dict[str, np.ndarray],
    rows: Iterable[tuple[np.ndarray, np.ndarray]],
    config: object = None,
) -> int:
    """Write the `arrays` layout.

    columns: image_id, label (ISO code), split, source (n,) str and latitude, longitude (n,) f8;
    rows: n pairs (image uint8 (224, 224, 3), score uint8 (224, 224)). Image and score are stored
    contiguously so that they can be memory-mapped. The digest is of image_id, label, split, image
    and score. Raises ValueError where the numbers differ.
    """
    count, size = len(columns["image_id"]), ARRAY_SIZE
    with create_store(path, "arrays", config) as file:
        for name in ("image_id", "label", "split", "source"):
            file.create_dataset(name, data=np.asarray(columns[name], object), dtype=TEXT)
        for name in ("latitude", "longitude"):
            file.create_dataset(name, data=np.asarray(columns[name], "f8"))
        image = file.create_dataset("image", (count, size, size, 3), "u1")
        score = file.create_dataset("score", (count, size, size), "u1")
        names = [list(map(str, columns[name])) for name in ("image_id", "label", "split")]
        written, digest = 0, hashlib.sha256(json.dumps(names).encode())
        for written, (image_row, score_row) in enumerate(rows, start=1):
            image[written - 1], score[written - 1] = image_row, score_row
            digest.update(np.ascontiguousarray(image_row))
            digest.update(np.ascontiguousarray(score_row))
        file.attrs["digest"] = digest.hexdigest()
        if written != count:
            raise ValueError(f"{path}: {count} images announced, {written} given")
    return count


class Arrays:
    """Several `arrays` stores as one, memory-mapped, without copies.

    Columns image_id, label, split, source (n,) str and latitude, longitude (n,) float64 are read
    at once; `read` maps the files that it reads pixels from, and keeps none of them open, however
    many there are. `split` keeps only the rows of that split. Stores are concatenated in the order
    of `paths`. `digest` is the same for the same content of all stores in the same order.
    """

    TEXT_COLUMNS = ("image_id", "label", "split", "source")

    def __init__(self, paths: Sequence[str | Path], split: str | None = None) -> None:
        self.paths = [Path(path) for path in paths]
        columns: dict[str, list] = {n: [] for n in (*self.TEXT_COLUMNS, "latitude", "longitude")}
        self._offsets: list[tuple[int, int] | None] = []
        starts, digests = [0], []
        for path in self.paths:
            with open_store(path, "arrays") as file:
                for name, parts in columns.items():
                    text = name in self.TEXT_COLUMNS
                    parts.append(_texts(file[name]) if text else file[name][:])
                empty = len(file["image"]) == 0
                ends = None if empty else tuple(
                    file[name].id.get_offset() for name in ("image", "score")
                )  # fmt: skip
                self._offsets.append(ends)
                starts.append(starts[-1] + len(file["image"]))
                digests.append(str(file.attrs["digest"]))
        self.digest = config_hash(digests)
        self._starts = starts
        joined = {n: np.concatenate(p) if p else np.empty(0) for n, p in columns.items()}
        keep = np.arange(starts[-1]) if split is None else np.flatnonzero(joined["split"] == split)
        self._rows = keep
        self.image_id, self.label, self.split, self.source, self.latitude, self.longitude = (
            values[keep] for values in joined.values()
        )

    def __len__(self) -> int:
        return len(self._rows)

    def _map(self, store: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of a store, mapped as long as these are held."""
        count = self._starts[store + 1] - self._starts[store]
        data = np.memmap(self.paths[store], np.uint8, "r")
        image, score = (
            data[offset:][: count * ARRAY_SIZE * ARRAY_SIZE * channels]
            for offset, channels in zip(self._offsets[store], (3, 1), strict=True)
        )
        shape = (count, ARRAY_SIZE, ARRAY_SIZE)
        return image.reshape(*shape, 3), score.reshape(shape)

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of the given rows of this view: image uint8 (b, 224, 224, 3) and score uint8
        (b, 224, 224), in the order asked for."""
        image = np.empty((len(rows), ARRAY_SIZE, ARRAY_SIZE, 3), np.uint8)
        score = np.empty((len(rows), ARRAY_SIZE, ARRAY_SIZE), np.uint8)
        wanted = self._rows[np.asarray(rows)]
        stores = np.searchsorted(self._starts, wanted, side="right") - 1
        for store in np.unique(stores):
            images, scores = self._map(store)
            for target in np.flatnonzero(stores == store):
                image[target] = images[wanted[target] - self._starts[store]]
                score[target] = scores[wanted[target] - self._starts[store]]
        return image, score
