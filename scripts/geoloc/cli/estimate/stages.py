"""The stages of a run: its jobs by kind, with the work that their time grows with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from geoloc.cli.estimate.jobs import Job
from geoloc.cli.estimate.sizes import Sizes
from geoloc.matrix import street_test_sets

ONCE = "once each"
"""Stage of the jobs that take seconds, whatever the number of images."""
SECTIONS = {"segmentation": "segmentations", "scores": "scores", "model": "models"}
"""Section of the configuration whose entries a wildcard names."""
Config = Mapping[str, Any]


class Work(NamedTuple):
    """What the time of a job grows with.

    Attributes:
        units: returns how many units a job has, from the configuration, the sizes, and the path of
            the job's benchmark below the folder of its stage.
    """

    units: Callable[[Config, Sizes, Path], int]
    unit: str = "images"


def _images_of_shard(config: Config, sizes: Sizes, path: Path) -> int:
    return sizes.shards.get(path.parts, 0)


def _images_of_street_shard(config: Config, sizes: Sizes, path: Path) -> int:
    """Of a path that names an entry of the configuration instead of the collection."""
    return sizes.shards.get(("street", *path.parts[1:]), 0)


def _tested_images(config: Config, sizes: Sizes, path: Path) -> int:
    return len(street_test_sets(config, path.parts[1])) * sizes.test + sizes.test_set


WORK = {
    "prepare": Work(_images_of_shard),
    "check_leakage": Work(lambda config, sizes, path: sizes.street + sizes.test_set),
    "segment": Work(_images_of_street_shard),
    "score": Work(_images_of_street_shard),
    "describe_segments": Work(lambda config, sizes, path: sizes.street),
    "pack_images": Work(_images_of_shard),
    "pack_scores": Work(_images_of_street_shard),
    "pack_crops": Work(_images_of_street_shard),
    "train": Work(
        lambda config, sizes, path: config["train"]["epochs"] * (sizes.train + sizes.val),
        "images × epochs",
    ),
    "train_clip": Work(lambda config, sizes, path: sizes.train),
    "predict": Work(_tested_images),
    "train_random_labels": Work(  # the training images validate themselves
        lambda config, sizes, path: config["train"]["epochs"] * 2 * sizes.train,
        "images × epochs",
    ),
    "train_clip_random_labels": Work(lambda config, sizes, path: sizes.train),
    "explain": Work(lambda config, sizes, path: min(config["explain"]["images"], sizes.test)),
}
"""By folder of the jobs' benchmarks, in the order of the stages. All other jobs are `ONCE`."""


@dataclass
class Stage:
    """Jobs of one kind.

    Attributes:
        kind: folder of the jobs' benchmarks, or `ONCE`.
        entry: name in the configuration of what the jobs are for, if they are for an entry of it.
        place: of the entry in its section.
        units: what the time of all jobs together grows with.
        output: folder of the jobs' HDF5 files, relative to the results; None if they have none for
            each shard.
    """

    kind: str
    entry: str = ""
    place: int = 0
    jobs: int = 0
    units: int = 0
    unit: str = ""
    gpu: bool = False
    output: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.entry}" if self.entry else self.kind


def find_stages(config: Config, sizes: Sizes, jobs: Sequence[Job]) -> list[Stage]:
    """Return the stages of a run in order, each job in one of them; the index is one more job."""
    once = Stage(ONCE, jobs=1)
    stages: dict[tuple[str, str], Stage] = {}
    for job in jobs:
        kind = job.benchmark.parts[0] if job.benchmark.parts else ""
        if kind not in WORK:
            once.jobs += 1
            continue
        name = next((name for name in SECTIONS if name in job.wildcards), None)
        entry = job.wildcards[name] if name else ""
        if (kind, entry) not in stages:
            place = list(config[SECTIONS[name]]).index(entry) if name else 0
            output = _folder_of(job)
            stages[kind, entry] = Stage(kind, entry, place, unit=WORK[kind].unit, output=output)
        stage = stages[kind, entry]
        stage.jobs += 1
        stage.units += units_of(config, sizes, job.benchmark)
        stage.gpu |= job.gpu
    order = list(WORK)
    return [*sorted(stages.values(), key=lambda s: (order.index(s.kind), s.place)), once]


def units_of(config: Config, sizes: Sizes, benchmark: Path) -> int:
    """Return the units of the job with a benchmark, relative to the folder of benchmarks."""
    kind, *path = benchmark.parts
    return WORK[kind].units(config, sizes, Path(*path))


def _folder_of(job: Job) -> Path | None:
    """Return the folder of a shard's HDF5 file that is named like its benchmark."""
    if "shard" not in job.wildcards:
        return None
    tail = Path(*job.benchmark.parts[1:]).with_suffix(".h5").parts
    folders = [Path(*p.parts[: -len(tail)]) for p in job.outputs if p.parts[-len(tail) :] == tail]
    return folders[0] if folders else None
