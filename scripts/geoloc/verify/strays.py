"""Check for files that belong to nothing in a run: of no shard or entry, or of killed jobs."""

from __future__ import annotations

import csv
from pathlib import Path

from geoloc.shard_lists import COLUMNS, COMPLETE
from geoloc.stores.lists import list_rows, mark_of
from geoloc.verify.run import SNAKEMAKE, Check, Finding, Run, failure, of_street_images

LISTS = "lists"  # folder of the lists of shards
STAGES = ("images", "segments", "scores", "arrays", "quarantine")  # folders of a run


def check_strays(run: Run) -> Check:
    """Check that every file of a stage belongs to a shard and to an entry of the matrix."""
    stages = ["images", "quarantine", "arrays/images"]
    stages += [f"segments/{name}" for name in run.config["segmentations"]]
    stages += [
        f"{kind}/{name}" for kind in ("scores", "arrays/scores") for name in run.config["scores"]
    ]
    stages += (crops := [f"arrays/crops/{name}" for name in run.config["scores"]])
    known = {
        shard.name(stage)
        for shard, _ in run.shards()
        for stage in stages
        if shard.street or not of_street_images(stage)
    }
    known |= {f"{shard.name(stage)[:-3]}.csv" for shard, _ in run.shards() for stage in crops}
    count = 0
    for stage in STAGES:
        for path in sorted((run.folder / stage).rglob("*")):
            if path.is_dir() and run.relative(path) not in known:
                continue
            count += 1
            hidden = path.name.startswith(".")  # left by a killed job, see check_leftovers
            if not hidden and run.relative(path) not in known:
                # An entry may have been removed from the configuration, which changes no result.
                other = not any(run.relative(path).startswith(f"{s}/") for s in stages)
                problem = (
                    "belongs to no entry of the configuration"
                    if other
                    else "belongs to no shard of the index"
                )
                yield Finding(run.relative(path), f"{problem}; delete it", warning=other)
    return f"{count} files in {len(STAGES)} folders"


def check_lists(run: Run) -> Check:
    """Check that the lists of shards name the shards of the index, as these are now."""
    folder, count = run.folder / LISTS, 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.name.startswith("."):  # left by a killed job, see check_leftovers
            continue
        count += 1
        stage = path.parent.relative_to(folder).as_posix()
        try:
            current = _is_current(run, path, stage)
        except (OSError, ValueError) as error:
            yield failure(run.relative(path), error)
            continue
        if not current:
            problem = f"is not a list of the shards of {stage} as they are"
            yield Finding(run.relative(path), f"{problem}; delete it and run snakemake again")
    return f"{count} files"


def _is_current(run: Run, path: Path, stage: str) -> bool:
    """Return whether a list, or the file that marks it as complete, is what its job would write."""
    if path.suffix == COMPLETE:
        return path.read_text(encoding="ascii") == mark_of(path.with_suffix(".csv"))
    of_images = stage.endswith("images")
    collection, stage = ("street", f"{stage}/{path.stem}") if not of_images else (path.stem, stage)
    shards = [shard.path(stage) for shard, _ in run.shards() if shard.collection == collection]
    if stage.startswith("arrays/crops/"):
        shards += [shard.with_suffix(".csv") for shard in shards]
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))
    return found == [list(COLUMNS), *list_rows(path.parent, shards)]


def check_leftovers(run: Run) -> Check:
    """Warn of files left by killed jobs: they change no result, but take up space."""
    count = 0
    for path in sorted(run.folder.rglob(".*")):
        if path.name == SNAKEMAKE:
            continue
        count += 1
        yield Finding(
            run.relative(path),
            "was left by a job that was killed; run snakemake again to go on, or delete it",
            warning=True,
        )
    for path in sorted((run.folder / "models").glob("*/*/*/state")):
        count += 1
        yield Finding(
            run.relative(path),
            "is of a training that has not ended; run snakemake again to go on, or delete it",
            warning=True,
        )
    return f"{count} files of killed jobs"
