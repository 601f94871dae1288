"""Check for files that belong to nothing in a run: of no shard or entry, or of killed jobs."""

from __future__ import annotations

from geoloc.verify.run import SNAKEMAKE, Check, Finding, Run, of_street_images

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
