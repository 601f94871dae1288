"""Feeding training: images/s delivered, and what an epoch costs compared with its bare steps.

    python bench/training.py [--images 2000]

The published code reads folders of 640-pixel PNG and JPEG through Keras' ImageDataGenerator. Ours
reads arrays, applies weights by lookup table and augments. Both deliver batches of 64 images of 224
x 224 with the published augmentation. Ratios are of one run on one machine; they are printed and
written to bench/results/training.json.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from bench import rows
from bench.processes import in_process, private_memory
from bench.rows import Row
from geoloc.images import resize_nearest
from geoloc.stores import Arrays, create_store, read_images, write_arrays, write_score_arrays
from geoloc.types import ARRAY_SIZE
from scenes.draw import draw_scene
from scenes.marks import KEPT

ARRAYS = "arrays/images/street"  # folder of the stores in a run
BATCH = 64
DISTINCT = 40  # generated scenes; the files are copies of them
SIDE = 640
SHARD = 500  # images per store, as in the study
STEPS = 8  # timed steps of the CNN
TURNS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument(
        "--demo", type=Path, default=ROOT / "results" / "demo", help="a finished run of the demo"
    )
    parser.add_argument("--rows", type=int, default=75_000, help="of the large stores")
    parser.add_argument("--scratch", type=Path, help="where files of some GB are made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        folder = Path(scratch)
        write_images(folder, arguments.images)
        ours, theirs = folder / ARRAYS / "all.h5", folder / "folders"
        found = compare_demo(arguments.demo, folder / "demo")
        found += compare(f"{arguments.images} images", [ours], theirs)
        found += fed_epoch([ours])
        firsts = range(0, arguments.rows, SHARD)
        large = [folder / ARRAYS / f"{first}.h5" for first in firsts]
        for number, path in enumerate(large):
            write_sparse(path, min(SHARD, arguments.rows - number * SHARD))
        found += flat_memory({arguments.images: [ours], arguments.rows: large})
    rows.save("training", found)


def compare_demo(run: Path, scratch: Path) -> list[Row]:
    """Run both on the demo's street images, if the demo has been run."""
    ours = sorted((run / ARRAYS).glob("*/*.h5"))
    if not ours:
        print(f"no finished demo in {run}: its images are not measured; type make demo before")
        return []
    write_files(run, scratch)
    return compare("the demo's images", ours, scratch)


def compare(images: str, ours: list[Path], theirs: Path) -> list[Row]:
    """Feed the same images both ways."""
    case = f"batches of {images}, weighted and augmented"
    found, published = in_process(delivered, ours), in_process(delivered_as_published, theirs)
    speeds = found["images/s"], published["images/s"]
    memory = found["private GiB"], published["private GiB"]
    return [
        rows.rated(case, "images/s", *speeds, at_least=10),
        Row(case, "private GiB", *memory),
    ]


def fed_epoch(paths: list[Path]) -> list[Row]:
    ratios = in_process(epoch, paths)
    case = "epoch of the CNN by its bare steps"
    return [
        rows.bounded(case, "seconds, ratio", ratios["seconds"], at_most=1.1),
        Row(case, "CPU seconds, ratio", ratios["CPU seconds"]),
    ]


def flat_memory(stores: dict[int, list[Path]]) -> list[Row]:
    """Measure the memory of feeding from few and from many images."""
    memory = {n: in_process(delivered, paths)["private GiB"] for n, paths in stores.items()}
    small, large = memory.values()
    return [
        *(Row(f"feeding out of {n} images", "private GiB", gib) for n, gib in memory.items()),
        rows.bounded("feeding, large by small", "private GiB, ratio", large / small, at_most=1.1),
    ]


def write_images(folder: Path, count: int) -> None:
    """Write the same images as folders of files by country, and as arrays."""
    scenes = [
        draw_scene(KEPT[n % len(KEPT)], np.random.default_rng([8, n]), (SIDE, SIDE)).image
        for n in range(DISTINCT)
    ]
    labels = [KEPT[n % len(KEPT)] for n in range(count)]
    for number, label in enumerate(labels):
        home = folder / "folders" / label
        home.mkdir(parents=True, exist_ok=True)
        suffix = ".png" if number % 2 else ".jpg"
        first = home / f"{number % (2 * DISTINCT * len(KEPT)):05d}{suffix}"
        if first.exists():
            os.link(first, home / f"{number:05d}{suffix}")
        else:
            cv2.imwrite(str(first), scenes[number % DISTINCT][..., ::-1])
    small = [resize_nearest(scene, ARRAY_SIZE) for scene in scenes]
    score = np.random.default_rng(0).integers(0, 101, (ARRAY_SIZE, ARRAY_SIZE), np.uint8)
    path, columns = folder / ARRAYS / "all.h5", columns_of(labels)
    write_arrays(path, columns, (small[n % DISTINCT] for n in range(count)))
    write_score_arrays(scores_of(path), columns["image_id"], (score for _ in range(count)))


def write_files(run: Path, folder: Path) -> None:
    """Write a run's prepared street images as files, in their encoding, in folders by country."""
    for store in sorted(run.glob("images/street/*/*.h5")):
        home = folder / store.parent.name
        home.mkdir(parents=True, exist_ok=True)
        for number, (_, image) in enumerate(read_images(store)):
            suffix = ".png" if image.startswith(b"\x89PNG") else ".jpg"
            (home / f"{store.stem}-{number:05d}{suffix}").write_bytes(image)


def scores_of(path: Path) -> Path:
    """Return the store of the score maps of a store's images in a run."""
    return Path(str(path).replace(f"/{ARRAYS}/", "/arrays/scores/objects/"))


def columns_of(labels: list[str]) -> dict[str, np.ndarray]:
    count = len(labels)
    return {
        "image_id": [str(n) for n in range(count)],
        "label": labels,
        "split": ["train"] * count,
        "source": ["bench"] * count,
        "latitude": np.zeros(count),
        "longitude": np.zeros(count),
    }


def write_sparse(path: Path, count: int) -> None:
    """Write sparse stores of black images and scores of 0; only the first row is written."""
    columns = columns_of([KEPT[n % len(KEPT)] for n in range(count)])
    black = np.zeros((1, ARRAY_SIZE, ARRAY_SIZE, 3), np.uint8)
    write_first(path, "arrays", {"image": black}, columns)
    scores, ids = {"score": black[..., 0]}, {"image_id": columns["image_id"]}
    write_first(scores_of(path), "score_arrays", scores, ids)


def write_first(path: Path, schema: str, row: dict, columns: dict[str, np.ndarray]) -> None:
    """Write a store whose rows all equal the first, the only one that is written."""
    count = len(columns["image_id"])
    with create_store(path, schema) as writer:
        writer.reserve(count)
        writer.add(row)
        writer._row_digests *= count
        writer.finish(columns)


def delivered_as_published(folder: Path) -> dict[str, float]:
    """Return the images/s of ImageDataGenerator on folders of files."""
    import geoloc.keras_models  # noqa: F401  its environment, before Keras is imported

    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # isort: skip

    generator = ImageDataGenerator(
        rescale=1 / 255, shear_range=0.2, zoom_range=0.2, horizontal_flip=True
    )
    batches = generator.flow_from_directory(
        str(folder), (ARRAY_SIZE, ARRAY_SIZE), batch_size=BATCH, seed=1
    )
    next(batches)
    start = time.perf_counter()
    for _ in range(6):
        next(batches)
    speed = 6 * BATCH / (time.perf_counter() - start)
    return {"images/s": speed, "private GiB": private_memory()}


def make_batches(paths: list[Path]):
    from geoloc.keras_models import runtime

    runtime.setup(1, 2)
    from geoloc.keras_models.augmentation import Augmentation
    from geoloc.keras_models.batches import Batches
    from geoloc.weighting import View

    arrays = Arrays(paths, scores=[scores_of(path) for path in paths])
    view = View("piecewise")
    return Batches(arrays, sorted(KEPT), view, BATCH, 1, augmentation=Augmentation())


def delivered(paths: list[Path]) -> dict[str, float]:
    """Return the images/s of the project's batches, in one thread."""
    batches = make_batches(paths)
    count = min(max(len(batches), 30), 200)
    stream = batches.of_epochs(itertools.count())
    next(stream)
    start = time.perf_counter()
    for _ in range(count):
        next(stream)
    speed = count * BATCH / (time.perf_counter() - start)
    return {"images/s": speed, "private GiB": private_memory()}


def epoch(paths: list[Path]) -> dict[str, float]:
    """Run steps of the CNN with batches from the store and from memory in turns.

    The ratio is the median over neighboring pairs: a machine that stalls for seconds, or runs both
    of TensorFlow's threads on one core for a while, disturbs only single turns.
    """
    batches = make_batches(paths)
    from geoloc.keras_models.build import build_model
    from geoloc.keras_models.fused_batch_norm import fuse
    from geoloc.keras_models.training import compile_model

    model = build_model("cnn", len(KEPT), {})
    fuse(model)
    compile_model(model, 1e-3)
    steps = min(STEPS, len(batches))
    in_memory = list(itertools.islice(batches.of_epochs([0]), steps))

    def bare() -> None:
        for image, label in in_memory:
            model.train_on_batch(image, label)

    def fed() -> None:
        model.fit(batches.dataset([0]), steps_per_epoch=steps, shuffle=False, verbose=0)

    bare(), fed()
    turns = np.array([(timed(bare), timed(fed)) for _ in range(TURNS)])
    ratios = np.median(turns[:, 1] / turns[:, 0], axis=0)
    return dict(zip(("seconds", "CPU seconds"), ratios.tolist(), strict=True))


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return wall seconds and CPU seconds of all CPUs."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


if __name__ == "__main__":
    main()
