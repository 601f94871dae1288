"""`geoloc estimate`: estimate jobs, hours and disk space of a run, by stage.

The number of images comes from the run's index. If the index does not exist, it comes from the
options, whose defaults are the counts of the study. Seconds and bytes come from finished jobs of
this run, or of the run given with --measured; --rate and --bytes override them. Whatever has not
been measured is shown as unknown.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import nan
from pathlib import Path

import pandas as pd

from geoloc.config import SCHEMA, ConfigError, load_schema, read_config
from geoloc.evaluation.study import differences
from geoloc.matrix import (
    ROOMS,
    Row,
    explained_rows,
    is_trained,
    rows,
    street_test_sets,
    used_crops,
    used_scores,
)
from geoloc.tables import read_rows

ONCE = (
    "index", "collect_quarantine", "table1", "table1_comparison", "metrics", "answers",
    "published_distances", "by_country", "accuracy_figure", "found", "run_record", "report", "all",
)  # fmt: skip
EXAMPLES = """\
examples:
  the study (config/config.yaml):
    geoloc estimate
  another run, with seconds per image that you measured:
    geoloc estimate --configfile my.yaml --rate segment.sam=2.1 --rate score.objects=0.3
"""
ARRAY_BYTES = {
    "pack_images": 224 * 224 * 3,
    "pack_scores": 224 * 224,
    "pack_crops": 224 * 224 * 3,
}  # of an image


@dataclass(frozen=True)
class Sizes:
    """Numbers of images and shards, and where they are known from."""

    street: int
    test_set: int
    street_shards: int
    test_set_shards: int
    train: int
    val: int
    test: int
    known_from: str


@dataclass(frozen=True)
class Stage:
    """Jobs of one kind.

    Attributes:
        units: what the time of all jobs together grows with.
        pattern: path of each job's benchmark, relative to the results.
        output: path of each job's output, relative to the results.
        of_shards: whether each job processes a shard.
    """

    name: str
    jobs: int
    units: int
    unit: str = "images"
    gpu: bool = False
    pattern: str = ""
    output: str = ""
    of_shards: bool = False


def sizes_of_index(folder: Path) -> Sizes:
    """Return the sizes from the tables of a finished index."""
    shards = read_rows(folder / "shards.csv")
    street = [int(row["images"]) for row in shards if row["collection"] == "street"]
    others = [int(row["images"]) for row in shards if row["collection"] != "street"]
    countries = read_rows(folder / "countries.csv")
    split = {name: sum(int(row[name]) for row in countries) for name in ("train", "val", "test")}
    return Sizes(
        sum(street), sum(others), len(street), len(others), **split, known_from=str(folder)
    )


def expected_sizes(
    config: dict, images: int, countries: int, test_set_images: int, test_set_countries: int
) -> Sizes:
    """Return sizes without an index.

    A country's last shard is half full on average, so the number of shards is an estimate.
    """

    def shards(count: int, classes: int) -> int:
        return max(classes, round(count / config["index"]["shard_size"] + classes / 2))

    train, val = (int(share * images) for share in config["index"]["split"][:2])
    return Sizes(
        street=images,
        test_set=test_set_images,
        street_shards=shards(images, countries),
        test_set_shards=shards(test_set_images, test_set_countries) if test_set_images else 0,
        train=train,
        val=val,
        test=images - train - val,
        known_from="options; numbers of shards are estimates",
    )


def plan_stages(config: dict, sizes: Sizes) -> list[Stage]:
    """Return all stages of a run in order."""
    views = [street_test_sets(config, row.dataset).values() for row in rows(config)]
    settings = list(chain(*views))
    scores, crops = used_scores(*settings), used_crops(*settings)
    segmentations = dict.fromkeys(config["scores"][n]["segmentation"] for n in scores + crops)
    explained = {row.model for row in explained_rows(config)}  # with a figure each, and tables
    return [
        *_shard_stages(sizes, list(segmentations), scores, crops),
        *_model_stages(config, sizes),
        # Only the study's Table 1 is compared with the published one.
        Stage("once each", len(ONCE) + len(scores) + len(explained) + bool(explained)
              + bool(rows(config, trained=True))
              - bool(differences(config, load_schema(SCHEMA))), 0, ""),
    ]  # fmt: skip


def _shard_stages(
    sizes: Sizes, segmentations: list[str], scores: list[str], crops: list[str]
) -> Iterator[Stage]:
    images, shards = sizes.street + sizes.test_set, sizes.street_shards + sizes.test_set_shards
    street = {"jobs": sizes.street_shards, "units": sizes.street, "of_shards": True}
    every = {"jobs": shards, "units": images, "of_shards": True}
    yield Stage("prepare", pattern="prepare/*/*/*.tsv", output="images/*/*/*.h5", **every)
    yield Stage("check_leakage", 1, images, pattern="check_leakage.tsv")
    for name in segmentations:
        yield Stage(
            f"segment.{name}",
            gpu=True,
            pattern=f"segment/{name}/*/*.tsv",
            output=f"segments/{name}/*/*.h5",
            **street,
        )
    for name in scores:
        yield Stage(
            f"score.{name}",
            pattern=f"score/{name}/*/*.tsv",
            output=f"scores/{name}/*/*.h5",
            **street,
        )
        yield Stage(
            f"describe_segments.{name}",
            1,
            sizes.street,
            pattern=f"describe_segments/{name}.tsv",
        )
    yield Stage(
        "pack_images", pattern="pack_images/*/*/*.tsv", output="arrays/images/*/*/*.h5", **every
    )
    for name in scores:
        yield Stage(
            f"pack_scores.{name}",
            pattern=f"pack_scores/{name}/*/*.tsv",
            output=f"arrays/scores/{name}/*/*.h5",
            **street,
        )
    for name in crops:
        yield Stage(
            f"pack_crops.{name}",
            pattern=f"pack_crops/{name}/*/*.tsv",
            output=f"arrays/crops/{name}/*/*.h5",
            **street,
        )


def _model_stages(config: dict, sizes: Sizes) -> Iterator[Stage]:
    """Yield training and prediction by model, because models differ a lot in size."""
    epochs = config["train"]["epochs"] * (sizes.train + sizes.val)
    by_model: dict[str, list[Row]] = {}
    for row in rows(config):
        by_model.setdefault(row.model, []).append(row)
    for model, own in by_model.items():
        entry = config["models"][model]
        if not is_trained(entry):
            continue
        if ROOMS[entry["kind"]] == "keras_models":
            yield Stage(
                f"train.{model}",
                len(own),
                len(own) * epochs,
                "images × epochs",
                True,
                f"train/{model}/*/*.tsv",
            )
        else:
            yield Stage(
                f"train_clip.{model}",
                len(own),
                len(own) * sizes.train,
                gpu=True,
                pattern=f"train_clip/{model}/*/*.tsv",
            )
    for model, own in by_model.items():
        tested = sum(
            len(street_test_sets(config, row.dataset)) * sizes.test + sizes.test_set for row in own
        )
        yield Stage(
            f"predict.{model}", len(own), tested, gpu=True, pattern=f"predict/{model}/*/*.tsv"
        )
    explained = Counter(row.model for row in explained_rows(config))
    for model, count in explained.items():
        images = min(config["explain"]["images"], sizes.test)
        yield Stage(
            f"explain.{model}", count, count * images, gpu=True, pattern=f"explain/{model}/*/*.tsv"
        )


def done_units(stage: Stage, results: Path, sizes: Sizes, epochs: int) -> dict[Path, int]:
    """Return the benchmark files of a stage's finished jobs and how many units each did."""
    benchmarks = results / "benchmarks"
    files = sorted(benchmarks.glob(stage.pattern)) if stage.pattern else []
    if stage.name.startswith("train."):
        done = {}
        for file in files:
            row = file.relative_to(benchmarks / "train").with_suffix("")
            history = results / "models" / row / "history.csv"
            count = len(read_rows(history)) if history.exists() else epochs
            done[file] = count * (sizes.train + sizes.val)
        return done
    if not stage.of_shards:
        return {file: stage.units // stage.jobs for file in files} if stage.jobs else {}
    shards = {
        (row["collection"], row["country"], row["shard"]): int(row["images"])
        for row in read_rows(results / "index/shards.csv")
    }
    keys = {file: (file.parent.parent.name, file.parent.name, file.stem) for file in files}
    if "." in stage.name:  # of a segmentation or score maps: street images only
        keys = {file: ("street", *key[1:]) for file, key in keys.items()}
    return {file: shards[key] for file, key in keys.items() if key in shards}


def measured_rate(done: dict[Path, int]) -> float:
    """Return the seconds of a job per unit of its work; NaN if no job has finished."""
    seconds = units = 0.0
    for file, count in done.items():
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t"))
        seconds += sum(float(row["s"]) for row in rows) / len(rows)
        units += count
    return seconds / units if units else nan


def measured_bytes(stage: Stage, done: dict[Path, int], results: Path) -> float:
    """Return the bytes of a stage's outputs per image; NaN if no job has finished."""
    files = sorted(results.glob(stage.output)) if stage.output else []
    # The last three parts of both paths name the shard, and the entry or collection.
    keys = {file.relative_to(results).with_suffix("").parts[-3:]: file for file in files}
    size = units = 0
    for benchmark, count in done.items():
        file = keys.get(benchmark.with_suffix("").parts[-3:])
        if file:
            size, units = size + file.stat().st_size, units + count
    return size / units if units else nan


def plan_table(
    config: dict, sizes: Sizes, measured: Path, rates: dict[str, float], sizes_in_bytes: dict
) -> pd.DataFrame:
    """Return a row per stage.

    `rates` (seconds per unit) and `sizes_in_bytes` (bytes per image) by stage override what was
    measured in the folder `measured`. Hours are the sum over all jobs of a stage. GPU hours are the
    hours of jobs that request a GPU, whatever device they were measured on.

    Returns:
        Columns jobs, units, unit, seconds and bytes per unit, hours, gpu_hours, disk_gb, NaN if
        unknown, and where seconds and bytes come from.
    """
    index = measured / "index"
    run_sizes = sizes_of_index(index) if (index / "shards.csv").exists() else None
    run = {s.name: s for s in plan_stages(config, run_sizes)} if run_sizes else {}
    rows = []
    for stage in plan_stages(config, sizes):
        done = {}
        if run_sizes:
            done = done_units(run[stage.name], measured, run_sizes, config["train"]["epochs"])
        seconds, size = measured_rate(done), measured_bytes(stage, done, measured)
        jobs_measured = f"{len(done)} finished jobs of {measured}" if done else ""
        row = {
            "stage": stage.name,
            "jobs": stage.jobs,
            "units": stage.units,
            "unit": stage.unit,
            "seconds": rates.get(stage.name, seconds),
            "seconds_from": "option" if stage.name in rates else jobs_measured,
            "gpu": stage.gpu,
        }
        row["bytes"] = sizes_in_bytes.get(stage.name, size)
        row["bytes_from"] = "option" if stage.name in sizes_in_bytes else jobs_measured
        known = ARRAY_BYTES.get(stage.name.partition(".")[0])
        if known and pd.isna(row["bytes"]):
            row["bytes"], row["bytes_from"] = known, "layout"
        row["hours"] = row["seconds"] * stage.units / 3600
        row["gpu_hours"] = row["hours"] if stage.gpu else 0.0
        row["disk_gb"] = row["bytes"] * stage.units / 1e9 if stage.output else 0.0
        rows.append(row)
    return pd.DataFrame(rows)


def totals(table: pd.DataFrame) -> dict[str, float | bool]:
    """Return the sums of what is known, and whether anything is unknown."""
    working = table[table.units > 0]
    return {
        "jobs": int(table.jobs.sum()),
        "hours": float(table.hours.sum()),
        "gpu_hours": float(table.gpu_hours.sum()),
        "disk_gb": float(table.disk_gb.sum()),
        "hours_complete": bool(working.hours.notna().all()),
        "gpu_hours_complete": bool(working.gpu_hours.notna().all()),
        "disk_complete": bool(working.disk_gb.notna().all()),
    }


def format_table(table: pd.DataFrame, total: dict) -> str:
    """Format the table for the terminal."""

    def cell(value: float, form: str, known: bool = True) -> str:
        if pd.isna(value) or not (known or value):
            return "unknown"
        return ("" if known else "> ") + format(value, form)

    works = table.units > 0
    shown = pd.DataFrame({"stage": table.stage, "jobs": table.jobs.map("{:,}".format)})
    shown["work"] = [f"{row.units:,} {row.unit}" if row.units else "" for row in table.itertuples()]
    shown["s each"] = [cell(v, ".4g") if w else "" for v, w in zip(table.seconds, works)]  # noqa: B905
    for column, title in (("hours", "hours"), ("gpu_hours", "GPU hours"), ("disk_gb", "disk GB")):
        used = works & ((table[column] != 0) | table[column].isna())
        shown[title] = [cell(v, ",.1f") if u else "" for v, u in zip(table[column], used)]  # noqa: B905
    shown.loc[len(shown)] = [
        "total", f"{total['jobs']:,}", "", "",
        cell(total["hours"], ",.1f", total["hours_complete"]),
        cell(total["gpu_hours"], ",.1f", total["gpu_hours_complete"]),
        cell(total["disk_gb"], ",.1f", total["disk_complete"]),
    ]  # fmt: skip
    return shown.to_string(index=False)


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: write STAGE=NUMBER") from error


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="geoloc estimate",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], help="as for snakemake")
    parser.add_argument(
        "--images", type=int, default=73_867, help="number of street images, if there is no index"
    )
    parser.add_argument(
        "--countries", type=int, default=73, help="number of classes, if there is no index"
    )
    parser.add_argument("--test-set-images", type=int, default=2_504, help="images of test sets")
    parser.add_argument("--test-set-countries", type=int, default=61, help="their countries")
    parser.add_argument(
        "--shard-size",
        type=int,
        help="try another index.shard_size; the number of shards is then an estimate",
    )
    parser.add_argument("--measured", type=Path, help="results of the run to take speeds from")
    parser.add_argument(
        "--rate",
        type=_pair,
        action="append",
        default=[],
        metavar="STAGE=SECONDS",
        help="seconds per image",
    )
    parser.add_argument(
        "--bytes",
        type=_pair,
        action="append",
        default=[],
        metavar="STAGE=BYTES",
        help="bytes written per image",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def find_sizes(config: dict, options: argparse.Namespace) -> Sizes:
    """Return the sizes of the run: from its index if one exists, otherwise from the options."""
    folder = Path("results", config["run"], "index")
    indexed = sizes_of_index(folder) if (folder / "shards.csv").exists() else None
    if indexed and not options.shard_size:
        return indexed
    counts = (
        options.images,
        options.countries,
        options.test_set_images,
        options.test_set_countries,
    )
    if indexed:
        shards = read_rows(folder / "shards.csv")
        classes = [
            len({r["country"] for r in shards if (r["collection"] == "street") == street})
            for street in (True, False)
        ]
        counts = indexed.street, classes[0], indexed.test_set, classes[1]
    if options.shard_size:
        config["index"]["shard_size"] = options.shard_size
    return expected_sizes(config, *counts)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse_arguments(arguments)
    try:
        config = read_config(options.configfile)
    except (ConfigError, OSError) as error:
        sys.exit(str(error))
    sizes = find_sizes(config, options)
    measured = options.measured or Path("results", config["run"])
    names = {stage.name for stage in plan_stages(config, sizes)}
    if unknown := {name for name, _ in options.rate + options.bytes} - names:
        sys.exit(
            f"unknown stage {', '.join(sorted(unknown))}; use one of {', '.join(sorted(names))}"
        )
    table = plan_table(config, sizes, measured, dict(options.rate), dict(options.bytes))
    total = totals(table)
    if options.json:
        stages = json.loads(table.to_json(orient="records"))
        print(json.dumps({"sizes": vars(sizes), "stages": stages, "total": total}, indent=2))
        return
    print(
        f"{sizes.street:,} street images ({sizes.train:,} / {sizes.val:,} / {sizes.test:,}) and "
        f"{sizes.test_set:,} of test sets, from {sizes.known_from}\n"
    )
    print(format_table(table, total))
    print(
        f"\nHours are estimates: seconds measured in {measured} or given with --rate, times the "
        "work.\nTraining may stop early. Downloads and the demo's data are not included."
    )
