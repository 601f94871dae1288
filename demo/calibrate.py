"""Calibrate the workflow on worlds with a known answer, and print which expectations held.

    .venv/bin/python demo/calibrate.py

Every world is a run of the workflow with the transfer model, three seeds and five datasets: the
original images, images weighted by their scores, two controls (another image's scores and inverted
scores), and images weighted by the generator's own masks, which bound what a better segmenter could
give. `EXPECTATIONS` was written before the first run, but after a look at linear probes on scenes
weighted by the generator's own masks.

Run it again to resume. Writes results/calibrate/.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from scipy.stats import binom

from geoloc.evaluation.metrics import interval_over_seeds, paired_tests
from geoloc.evaluation.read_predictions import read_predictions

MODEL = "transfer"
ORIGINAL, OWN, OTHER, INVERTED = "original", "weighted_base", "other_image", "inverted"
PERFECT = "perfect_masks"
DATASETS = (ORIGINAL, OWN, OTHER, INVERTED, PERFECT)
MAJORITY = "majority"  # always predicts the most frequent country
WORLDS = ("objects", "background", "none")
LEVEL = 0.05  # of each paired test
# All kinds that carry an object mark, so that inverted scores hide all of them. The demo's own list
# has no houses, whose walls carry a mark.
SELECTED = ("bollard", "car", "house", "pole", "roof", "sign")

Contrast = Mapping[str, float]


@dataclass(frozen=True)
class Expectation:
    """A weighted sum of accuracies that is positive in a world if the workflow works.

    `contrast` has the weight of each dataset, or of the majority answer. Models are tested on
    images of their training dataset.
    """

    world: str
    text: str
    contrast: Contrast


# "Most of the accuracy" is more than half of what the original images give above the majority.
HALF_OF_ORIGINAL = {ORIGINAL: 0.5, MAJORITY: 0.5}
EXPECTATIONS = (
    Expectation("objects", "the original images tell the country", {ORIGINAL: 1, MAJORITY: -1}),
    Expectation("objects", "an image's own scores beat another image's", {OWN: 1, OTHER: -1}),
    Expectation("objects", "own scores beat inverted ones", {OWN: 1, INVERTED: -1}),
    Expectation(
        "objects", "inverted scores lose most of the accuracy", HALF_OF_ORIGINAL | {INVERTED: -1}
    ),
    Expectation("objects", "perfect masks beat SAM's", {PERFECT: 1, OWN: -1}),
    Expectation("background", "the original images tell the country", {ORIGINAL: 1, MAJORITY: -1}),
    Expectation("background", "another image's scores beat an image's own", {OTHER: 1, OWN: -1}),
    Expectation("background", "inverted scores beat own ones", {INVERTED: 1, OWN: -1}),
    Expectation("background", "own scores lose most of the accuracy", HALF_OF_ORIGINAL | {OWN: -1}),
)
# In the world `none`, the interval of every dataset's accuracy contains the majority's, and no more
# paired tests are significant at `LEVEL` than chance allows.


def main() -> None:
    arguments = parse_arguments()
    folder = ROOT / "results" / "calibrate"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(SELECTED) + "\n", encoding="utf-8")
    print_expectations()
    accuracies, lines, tests = [], [], pd.DataFrame()
    for world in arguments.worlds:
        config = world_config(world, arguments)
        overlay = folder / f"{world}.yaml"
        overlay.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        run_workflow(config["run"], overlay, arguments)
        right, tested = read_world(ROOT / "results" / config["run"], arguments.seeds)
        accuracies += [row | {"world": world} for row in accuracy_rows(right)]
        lines += judge(world, right)
        if world == "none":
            tests = tested
            lines += judge_tests(tests)
    pd.DataFrame(accuracies).to_csv(folder / "accuracy.csv", index=False)
    draw(pd.DataFrame(accuracies), folder / "accuracy.png")
    (folder / "verdicts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--images-per-country", type=int, default=70)
    parser.add_argument("--countries", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cores", type=int, default=2)
    return parser.parse_args()


def print_expectations() -> None:
    print("Expected, and written down before the first run:")
    for expectation in EXPECTATIONS:
        print(f"  {expectation.world}: {expectation.text}")
    print("  none: every accuracy is the majority's")
    print(f"  none: no more paired tests below {LEVEL} than chance allows\n", flush=True)


def world_config(world: str, arguments: argparse.Namespace) -> dict:
    """Return how a world's configuration differs from config/demo.yaml."""
    run = f"calibrate_{world}"
    weighted = {"scores": "objects", "curve": "linear"}
    drawn = {
        "informative": world,
        "countries": arguments.countries,
        "images_per_country": arguments.images_per_country,
        "test_set_images": 8,
    }
    classes = "results/calibrate/classes.txt"
    return {
        "run": run,
        "demo": drawn,
        "sources": {n: {"path": f"resources/{run}/{n}"} for n in ("geoguessr", "streetview")},
        "test_sets": {"im2gps3k": {"path": f"resources/{run}/im2gps3k"}},
        "index": {"split": [0.6, 0.1, 0.3], "min_images": 10},
        "prepare": {
            "max_unreadable": 0.3
        },  # every world has three damaged files, however small it is
        "segmentations": {
            "perfect": {
                "kind": "python",
                "file": "demo/perfect_masks.py",
                "classes": "scripts/geoloc/segmentation/data/demo_classes.txt",
                "options": {"folder": f"resources/{run}"} | drawn,
            }
        },
        "scores": {
            "objects": {"classes": classes},
            "perfect": {"segmentation": "perfect", "classes": classes},
        },
        "datasets": {
            "weighted_custom": None,
            OTHER: {"title": "Other Image's Scores", **weighted, "scores_of": "other_image"},
            INVERTED: {"title": "Inverted Scores", **weighted, "invert": True},
            PERFECT: {"title": "Perfect Masks", **weighted, "scores": "perfect"},
        },
        "train": {"epochs": arguments.epochs},
        "models": {"cnn": None, "clip": None},
        "seeds": arguments.seeds,
    }


def run_workflow(run: str, overlay: Path, arguments: argparse.Namespace) -> None:
    """Run the workflow up to Table 1; stop this script if it fails."""
    command = [
        str(Path(sys.executable).with_name("snakemake")),
        "--cores",
        str(arguments.cores),
        "--configfile",
        "config/demo.yaml",
        str(overlay),
        "--logger",
        "geoloc",
        "--",
        f"results/{run}/table1.csv",
    ]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"the run {run} failed; see results/{run}/logs, then run this script again")


def read_world(run: Path, seeds: list[int]) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Read which answers are right, and the paired tests of the run.

    Returns:
        For each dataset and for `MAJORITY`, bool (images, seeds), for the test images as that
        dataset shows them; and the table of `paired_tests`.
    """
    with (run / "index/countries.csv").open(newline="") as file:
        kept = [row for row in csv.DictReader(file) if row["kept"] == "True"]
    majority = max(kept, key=lambda row: int(row["train"]))["country"]
    keys = [(dataset, seed) for dataset in DATASETS for seed in seeds]
    paths = [run / f"predictions/{MODEL}/{dataset}/{seed}.parquet" for dataset, seed in keys]
    shown = [list(dict.fromkeys([ORIGINAL, OWN, dataset])) for dataset, _ in keys]
    classes = sorted(row["country"] for row in kept)
    tables = read_predictions(paths, classes, shown, ["im2gps3k"])
    right: dict[str, list[np.ndarray]] = {name: [] for name in (*DATASETS, MAJORITY)}
    for (dataset, _), table in zip(keys, tables, strict=True):
        own = table[table["test_set"] == dataset].sort_values("image_id")
        right[dataset].append((own["country_1"] == own["label"]).to_numpy())
        if dataset == ORIGINAL:
            right[MAJORITY].append((own["label"] == majority).to_numpy())
    predictions = [(MODEL, d, str(s), t) for (d, s), t in zip(keys, tables, strict=True)]
    street = paired_tests(predictions).query("test_set != 'im2gps3k'")
    return {name: np.stack(columns, axis=1) for name, columns in right.items()}, street


def accuracy_rows(right: dict[str, np.ndarray]) -> list[dict]:
    """Return the accuracy (0–1) of each dataset with its 95 % interval over seeds and images."""
    rows = []
    for name, answers in right.items():
        low, high = interval_over_seeds(answers.astype(int))
        rows.append({"dataset": name, "accuracy": answers.mean(), "low": low, "high": high})
    return rows


def judge(world: str, right: dict[str, np.ndarray]) -> list[str]:
    """Return one line for each expectation of a world: held, undecided or failed."""
    lines = []
    for expectation in EXPECTATIONS:
        if expectation.world == world:
            value = sum(w * right[name].astype(float) for name, w in expectation.contrast.items())
            low, high = interval_over_seeds(value)
            verdict = "held" if low > 0 else "failed" if high < 0 else "undecided"
            lines.append(line(world, verdict, expectation.text, value.mean(), low, high))
    if world == "none":
        for name in DATASETS:
            value = right[name].astype(float) - right[MAJORITY]
            low, high = interval_over_seeds(value)
            verdict = "held" if low <= 0 <= high else "failed"
            text = f"{name} is at the majority"
            lines.append(line(world, verdict, text, value.mean(), low, high))
    return lines


def line(world: str, verdict: str, text: str, value: float, low: float, high: float) -> str:
    numbers = f"{100 * value:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    return f"{verdict:9} {world}: {text} ({numbers})"


def judge_tests(tests: pd.DataFrame) -> list[str]:
    """Say whether significant paired tests are as rare as their level says.

    The tests of a run share images and models, so the bound for independent tests is only a guide.
    """
    found, count = int((tests["p_value"] < LEVEL).sum()), len(tests)
    most = int(binom.ppf(0.975, count, LEVEL))
    verdict = "held" if found <= most else "failed"
    return [
        f"{verdict:9} none: {found} of {count} paired tests below {LEVEL} "
        f"(chance alone: {LEVEL * count:.0f}, at most {most})"
    ]


def draw(accuracies: pd.DataFrame, path: Path) -> None:
    """Draw the accuracy of each dataset in each world, with intervals and the majority."""
    from matplotlib.figure import Figure

    worlds = list(dict.fromkeys(accuracies["world"]))
    figure = Figure(figsize=(3.2 * len(worlds), 3), layout="constrained")
    for axes, world in zip(
        figure.subplots(1, len(worlds), sharey=True, squeeze=False)[0], worlds, strict=True
    ):
        rows = accuracies[accuracies["world"] == world].set_index("dataset")
        shown = 100 * rows.loc[list(DATASETS), ["accuracy", "low", "high"]]
        error = [shown.accuracy - shown.low, shown.high - shown.accuracy]
        axes.errorbar(range(len(shown)), shown.accuracy, error, fmt="o", capsize=3)
        axes.axhline(100 * rows.loc[MAJORITY, "accuracy"], linestyle=":", color="gray")
        names = [name.replace("_", "\n") for name in DATASETS]
        axes.set_xticks(range(len(shown)), names, fontsize=8)
        axes.set_title(f"informative: {world}")
        axes.set_ylim(0, 100)
        axes.set_ylabel("accuracy, %" if world == worlds[0] else "")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
