"""Small stores of each kind, for tests that damage them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

from geoloc import stores
from geoloc.segmentation import rle
from geoloc.stores.base import ATTRIBUTES, content_digest, row_digest, seal
from geoloc.stores.layouts import LAYOUTS, Layout
from geoloc.types import Segments

IDS = ("s/a.jpg", "s/b.jpg", "s/Ål.jpg")
SIZE = (4, 5)


def segments_of(image_id: str, masks: Sequence[np.ndarray], seed: int = 0) -> Segments:
    """Masks, bool (height, width) of one size, with classes and probabilities."""
    rng, m = np.random.default_rng(seed), len(masks)
    size = masks[0].shape if m else SIZE
    counts = [rle.encode(mask.T, 0, 0, size) for mask in masks]
    boxes = [rle.bounding_box(runs, size) for runs in counts]
    return Segments(
        image_id=image_id,
        size=size,
        bbox=np.array(boxes, np.int32).reshape(-1, 4),
        area=np.array([mask.sum() for mask in masks], np.int32),
        predicted_iou=rng.random(m, np.float32) + np.float32(0.2),
        stability_score=rng.random(m, np.float32),
        counts=counts,
        class_id=np.array([rng.permutation(1000)[:10] for _ in masks], np.int16).reshape(-1, 10),
        class_probability=np.sort(rng.random((m, 10), np.float32))[:, ::-1] / 10,
    )


def write_small(folder: Path, schema: str, seed: int = 0, ids: Sequence[str] = IDS) -> Path:
    """A store of a few images; another seed has other content under the same ids."""
    rng, n = np.random.default_rng(seed), len(ids)
    path = folder / f"{schema}{seed}.h5"
    columns = {
        "image_id": list(ids),
        "split": [("train", "val", "test")[i % 3] for i in range(n)],
        "source": ["s"] * n,
        "latitude": rng.uniform(-90, 90, n),
        "longitude": rng.uniform(-180, 180, n),
    }
    if schema == "images":
        rows = [{name: values[i] for name, values in columns.items()} for i in range(n)]
        stores.write_images(path, (row | {"image": rng.bytes(3000)} for row in rows))
    elif schema == "segments":
        images = ([rng.random(SIZE) < 0.5 for _ in range(4)] for _ in ids)
        stores.write_segments(path, map(segments_of, ids, images, [seed] * n))
    elif schema == "scores":
        coarse = rng.integers(0, 101, (n, 16, 16)).astype(np.uint8)
        maps = (np.kron(scores, np.ones((40, 40), np.uint8)) for scores in coarse)
        stores.write_scores(path, zip(ids, maps, strict=True))
    elif schema == "arrays":
        images = rng.integers(0, 101, (n, 224, 224, 3)).astype(np.uint8)
        stores.write_arrays(path, columns | {"label": ["NA"] * n}, images)
    elif schema == "explanations":
        stores.write_explanations(path, (explained(image_id, rng) for image_id in ids))
    else:
        maps = rng.integers(0, 101, (n, 224, 224)).astype(np.uint8)
        stores.write_score_arrays(path, list(ids), maps)
    return path


def explained(image_id: str, rng: np.random.Generator) -> stores.Explanation:
    """Two maps of a few relevant squares each."""
    maps = {}
    for method in ("grad_cam", "integrated_gradients"):
        coarse = np.kron(rng.integers(0, 9, (14, 14)), np.ones((16, 16)))
        maps[method] = (coarse / coarse.sum()).astype(np.float32)
    return stores.Explanation(image_id, "NA", "FR", maps)


def content(path: Path, schema: str) -> list:
    """All that a store holds, as values that compare."""
    columns = stores.check_store(path, schema)
    found = [{name: values.tobytes() for name, values in columns.items()}]
    if schema == "images":
        return found + list(stores.read_images(path))
    if schema == "segments":
        return found + [
            [np.asarray(value).tobytes() for name, value in vars(s).items() if name != "counts"]
            + [runs.tobytes() for runs in s.counts]
            for s in stores.read_segments(path)
        ]
    if schema == "scores":
        return found + [(i, score.tobytes()) for i, score in stores.read_scores(path)]
    if schema == "explanations":
        return found + [
            (e.image_id, e.label, e.predicted, [(m, x.tobytes()) for m, x in e.relevance.items()])
            for e in stores.read_explanations(path)
        ]
    if schema == "score_arrays":
        return found + [(i, score.tobytes()) for i, score in stores.read_score_arrays(path, IDS)]
    arrays = stores.Arrays([path])
    return found + [arrays.read(np.arange(len(arrays)))[0].tobytes()]


def reseal(path: Path) -> None:
    """Make a store's digests fit what was changed in it, as if its writer had been wrong."""
    with h5py.File(path, "r+", libver="latest") as file:
        schema = file.attrs["schema"].decode()
        layout = LAYOUTS[schema]
        file["row_digest"][:] = [
            row_digest(*_row(file, layout, row)) for row in range(len(file["row_digest"]))
        ]
        stored = {name: file[name][()] for name in layout.columns}
        attributes = {
            name: file.attrs[name].decode() for name in ATTRIBUTES if name not in ("digest", "seal")
        }
        attributes["digest"] = content_digest(schema, stored)
        attributes["seal"] = seal(attributes)
        for name in ("digest", "seal"):
            data = np.array(attributes[name].encode(), h5py.string_dtype("utf-8", 64))
            file.attrs.modify(name, data)


def _row(file: h5py.File, layout: Layout, row: int) -> list[np.ndarray]:
    """The data of a row, in the order of its layout."""
    bounds = {"images": (row, row + 1)}
    for unit, name in layout.bounds.items():
        first, last = bounds.get("masks", bounds["images"])
        fence = file[name][()]
        bounds[unit] = fence[first], fence[last]
    return [file[name][slice(*bounds[column.unit])] for name, column in layout.data.items()]


def edit(path: Path, change: Callable[[h5py.File], object], fitting: bool = False) -> None:
    """Change a store through h5py; `fitting` digests follow, so that only other checks notice."""
    with h5py.File(path, "r+", libver="latest") as file:
        change(file)
    if fitting:
        reseal(path)
