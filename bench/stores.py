"""The cost of checking stores, as a share of the time of the jobs that read them.

    make bench-stores

Times the calls that only check (digests, ranges, structure, index columns) inside the functions of
the jobs, on generated scenes, in one thread. The job segment reads like leakage and takes far
longer.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from bench import rows
from bench.rows import Row
from geoloc import stores
from geoloc.corpus.index_tables import MANIFEST_COLUMNS
from geoloc.corpus.pack import pack_images, pack_scores
from geoloc.segmentation import rle
from geoloc.segmentation.scoring import score_map
from geoloc.segmentation.segments import to_segments
from geoloc.stores import Arrays
from geoloc.types import Segments
from scenes.draw import draw_scene
from scenes.marks import KEPT

SIDE = 640
MASKS = 60  # per image, as SAM finds in the study's
CHECKS = {
    "geoloc.stores.base.check_row",
    "geoloc.stores.arrays.check_row",
    "geoloc.stores.arrays.score_problem",
    "geoloc.stores.scores.score_problem",
    "geoloc.stores.segments.segments_problem",
    "geoloc.stores.base.check_structure",
    "geoloc.stores.base.check_lengths",
    "geoloc.stores.base.content_digest",
    "geoloc.stores.base.columns_problem",
    *(
        f"geoloc.stores.{kind}.check_manifest"
        for kind in ("images", "segments", "scores", "arrays", "check")
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500, help="of a shard, as in the study")
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        images, segments, scores, *arrays = (
            Path(folder, kind, "FR/0000.h5")
            for kind in (
                "images/street",
                "segments/sam",
                "scores/objects",
                "arrays/images/street",
                "arrays/scores/objects",
            )
        )
        index = Path(folder, "index")
        write_inputs(images, segments, index, count)
        selected = np.arange(0, 1000, 4)

        def score() -> None:
            found = stores.read_segments(segments, index=index)
            stores.write_scores(scores, ((s.image_id, score_map(s, selected)) for s in found))

        found = [
            share("score", score),
            share("pack_images", lambda: pack_images(images, "FR", arrays[0], index)),
            share("pack_scores", lambda: pack_scores(scores, arrays[1], index)),
            share("check_leakage", lambda: hash_images(images, index)),
            share("feeding a training, first epoch", lambda: feed(*arrays, index)),
            share("predict of the CNN, three datasets, on the CPU", predict_with(*arrays, index)),
        ]
    rows.save("stores", found)


def share(case: str, job: Callable[[], object]) -> Row:
    """Return the share of a job's CPU seconds that its checks take.

    The files were just written, so nothing waits for a disk here; the share of a job's total time
    is smaller.
    """
    with timed(CHECKS) as seconds:
        start = time.process_time()
        job()
        total = time.process_time() - start
    return rows.bounded(case, "check, share of CPU time", sum(seconds) / total, at_most=0.02)


@contextmanager
def timed(names: set[str]) -> Iterator[list[float]]:
    """Collect the CPU seconds of each call of some functions."""
    seconds: list[float] = []
    with ExitStack() as patches:
        for name in names:
            module, _, attribute = name.rpartition(".")
            function = getattr(sys.modules[module], attribute)

            def call(*arguments, function=function, **options):
                start = time.thread_time()
                try:
                    return function(*arguments, **options)
                finally:
                    seconds.append(time.thread_time() - start)

            patches.enter_context(mock.patch(name, call))
        yield seconds


def write_inputs(images: Path, segments: Path, index: Path, count: int) -> None:
    """Write generated scenes as JPEG, masks of random ellipses, and the manifest."""
    rng = np.random.default_rng(0)
    place = {"split": "train", "source": "bench", "latitude": 0.0, "longitude": 0.0}

    def encoded() -> Iterator[dict]:
        for n in range(count):
            scene = draw_scene(KEPT[n % len(KEPT)], np.random.default_rng(n), (SIDE, SIDE)).image
            buffer = io.BytesIO()
            Image.fromarray(scene).save(buffer, "JPEG", quality=95)
            yield place | {"image_id": str(n), "image": buffer.getvalue()}

    stores.write_images(images, encoded())
    manifest = stores.manifest_of(images, index)
    manifest.parent.mkdir(parents=True)
    lines = [f"{n},bench,{n}.jpg,0.0,0.0,FR,train" for n in range(count)]
    manifest.write_text("\n".join([",".join(MANIFEST_COLUMNS), *lines]) + "\n")
    stores.write_segments(segments, (draw_masks(str(n), rng) for n in range(count)))


def draw_masks(image_id: str, rng: np.random.Generator) -> Segments:
    y, x = np.mgrid[:SIDE, :SIDE]
    counts = []
    for _ in range(MASKS):
        (top, left), (height, width) = rng.integers(0, SIDE, 2), rng.integers(10, 250, 2)
        mask = ((y - top) / height) ** 2 + ((x - left) / width) ** 2 < 1
        counts.append(rle.encode(mask.T, 0, 0, mask.shape))
    found = to_segments((SIDE, SIDE), counts, [0.9] * MASKS, [0.97] * MASKS)
    found.image_id = image_id
    found.class_id[:] = [rng.permutation(1000)[:10] for _ in range(MASKS)]
    found.class_probability[:] = np.sort(rng.dirichlet(np.ones(10) / 4, MASKS))[:, ::-1]
    return found


def hash_images(images: Path, index: Path) -> None:
    from geoloc.evaluation.leakage import hash_stores

    hash_stores([images], index=index)


def feed(images: Path, scores: Path, index: Path) -> None:
    from geoloc.keras_models.augmentation import Augmentation
    from geoloc.keras_models.batches import Batches
    from geoloc.weighting import View

    arrays = Arrays([images], index=index, scores=[scores])
    batches = Batches(arrays, ["FR"], View("linear"), 64, 1, augmentation=Augmentation())
    for _ in batches.of_epochs([0]):
        pass


def predict_with(images: Path, scores: Path, index: Path) -> Callable[[], None]:
    """Return the job predict, with an untrained model."""
    from geoloc.keras_models import runtime

    runtime.setup(1, 1)
    from geoloc.keras_models.build import build_model
    from geoloc.keras_models.predict import TrainedModel, predict
    from geoloc.stores import dataset_arrays
    from geoloc.weighting import UNCHANGED, View

    model = build_model("cnn", 2, {})
    trained = TrainedModel("cnn", model, ["DE", "FR"], "original", UNCHANGED)

    def job() -> None:
        for curve in ("none", "linear", "piecewise"):
            view = View(curve, scores="objects")
            arrays = dataset_arrays([images], {"objects": [scores]}, view, "train", index, 1)
            predict(trained, arrays, curve, view)

    return job


if __name__ == "__main__":
    main()
