"""Planning at the study's size and a hundred times larger: seconds and memory of Snakemake.

    python bench/scale.py LISTS /tmp/scale [--factor 100] [--shard-size 5000]

LISTS is a folder with the published lists that bench/study_tree.py names. The study's tree (made by
it) is indexed and planned, alone and with three experiments together. Then it is completed with
empty files, so that nothing is left to do, and planned again. The larger corpus has no images: its
shards and manifests are the study's, with each image repeated under other names. Prints a table.
Wall time depends on the load of the machine, CPU time hardly. Needs 1 GB in the second folder,
which must be new.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from bench.processes import in_process
from bench.study_tree import lay_out
from geoloc.corpus.index import assign_shards, shard_table
from geoloc.corpus.index_tables import MANIFEST_COLUMNS

PROJECT = ("Snakefile", "rules", "scripts", "envs", "profiles", "report", "demo", "config")
INDEX = "results/study/index"
EXPERIMENTS = ("controls", "seeds", "street_segmenters")
STORE_BYTES = 2_000_000  # of a finished HDF5 file: larger than what Snakemake compares by checksum


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path, help="folder of the published lists")
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--factor", type=int, default=100)
    parser.add_argument("--shard-size", type=int, default=5000, help="of the larger corpus")
    parser.add_argument("--repetitions", type=int, default=3, help="of which the least is reported")
    options = parser.parse_args()
    if options.scratch.exists():
        parser.error(f"{options.scratch} is there already; name a folder that is not")
    study = make_workdir(options.scratch / "study")
    large = make_workdir(options.scratch / "large")
    print(f"{'':28}  wall s   CPU s    GiB")
    in_process(lay_out, options.reference, study)
    show("index of the study", measure(study, ["-c", "1", f"{INDEX}/countries.csv"]))
    show("plan of the study", least(study, ["-n", "-q"], options.repetitions))
    files = [f"config/experiments/{name}.yaml" for name in EXPERIMENTS]
    planned = ["-n", "-q", "--configfile", *files]
    show("plan with experiments", least(study, planned, options.repetitions))
    in_process(enlarge, study, large, options.factor, options.shard_size)
    show("plan of the larger corpus", least(large, ["-n", "-q"], options.repetitions))
    finish(study)
    show("nothing to do", least(study, [], options.repetitions))


def show(what: str, numbers: Sequence[float]) -> None:
    print(f"{what:28}" + "".join(f"{number:8.2f}" for number in numbers), flush=True)


def make_workdir(folder: Path) -> Path:
    """Make a folder in which Snakemake finds the project."""
    folder.mkdir(parents=True)
    for name in PROJECT:
        (folder / name).symlink_to(ROOT / name)
    return folder


def snakemake(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", *arguments]


def measure(folder: Path, arguments: list[str]) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak GiB of a Snakemake run that must succeed.

    The peak is at least what this process held at the start, so other processes do the large work.
    """
    start = time.monotonic()
    process = subprocess.Popen(
        snakemake(*arguments), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"snakemake {' '.join(arguments)} failed in {folder}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def least(folder: Path, arguments: list[str], repetitions: int) -> list[float]:
    """Return the minimum of each number over several measurements."""
    return [min(found) for found in zip(*(measure(folder, arguments) for _ in range(repetitions)))]  # noqa: B905


def finish(folder: Path) -> None:
    """Make all outputs as empty files, with Snakemake's records that they are up to date.

    Weights have their real size, because it is compared.
    """
    weights = yaml.safe_load((ROOT / "config/weights.yaml").read_text(encoding="utf-8"))
    summary = subprocess.run(
        snakemake("--summary"), cwd=folder, capture_output=True, text=True, check=True
    )
    for line in summary.stdout.splitlines()[1:]:
        name = line.split("\t")[0]
        path = folder / name
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.suffix:
            path.mkdir()
            continue
        path.touch()
        size = STORE_BYTES if path.suffix == ".h5" else 0
        os.truncate(path, weights.get(path.name, {}).get("size", size))
    measure(folder, ["--touch", "--forceall", "-c", "1", "-q"])


def enlarge(study: Path, folder: Path, factor: int, shard_size: int) -> None:
    """Write an index of `factor` times as many images as the study's, without images."""
    (folder / "resources").symlink_to((study / "resources").resolve())
    index = folder / INDEX
    index.mkdir(parents=True)
    for name in ("images.parquet", "countries.csv", "rejected.csv"):
        shutil.copy(study / INDEX / name, index)
    images = pd.read_parquet(study / INDEX / "images.parquet")
    tables = []
    for (collection, country), group in images.groupby(["collection", "country"]):
        rows = group.loc[group.index.repeat(factor)].reset_index(drop=True)
        repetition = (rows.index % factor).astype(str)
        for column in ("image_id", "path"):
            parts = rows[column].str.rpartition(".")
            rows[column] = parts[0] + "_" + repetition + "." + parts[2]
        rows["shard"] = assign_shards(rows, shard_size)
        home = index / "shards" / collection / country
        home.mkdir(parents=True)
        for shard, part in rows.groupby("shard"):
            part[MANIFEST_COLUMNS].to_csv(home / f"{shard}.csv", index=False)
        tables.append(shard_table(rows))
    pd.concat(tables).to_csv(index / "shards.csv", index=False)


if __name__ == "__main__":
    main()
