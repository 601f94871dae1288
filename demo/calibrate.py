"""Calibrate the workflow on worlds with a known answer, and print which expectations held.

    .venv/bin/python demo/calibrate.py

Every world is a run of the workflow with the transfer model, three seeds and five datasets: the
original images, images weighted by their scores, two controls (another image's scores and inverted
scores), and images weighted by the generator's own masks, which bound what a better segmenter could
give. In the world of background, nothing is expected of the generator's masks, so that they are
left out. `EXPECTATIONS` was written before the first run, but after a look at linear probes on
scenes weighted by the generator's own masks.

`--only explanations` asks instead whether explanations of models of original images find the
informative marks: their relevance, and what removing scored pixels costs, must be where these are.
It takes easier worlds, which the models learn, and the generator's own masks as scored pixels: it
needs no SAM and one dataset. `--explain` explains the models of the first worlds, too.
Of `EXPLANATION_EXPECTATIONS`, those about area and removal were written before any model was
explained, and those about other images' places after that of one seed's worlds (docs/science.md).
`--world-seed` draws other worlds.

Run it again to resume. Writes results/calibrate/.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from scipy.stats import binom

from geoloc.evaluation.intervals import interval_over_seeds
from geoloc.evaluation.metrics import paired_tests
from geoloc.evaluation.read_predictions import read_predictions
from geoloc.explain.influence import ALL
from geoloc.explain.methods import GRAD_CAM, INTEGRATED_GRADIENTS
from geoloc.explain.tables import faithfulness, read_row_tables

MODEL = "transfer"
ORIGINAL, OWN, OTHER, INVERTED = "original", "weighted_base", "other_image", "inverted"
PERFECT = "perfect_masks"
DATASETS = (ORIGINAL, OWN, OTHER, INVERTED, PERFECT)
MAJORITY = "majority"  # always predicts the most frequent country
WORLDS = ("objects", "background", "none")
PERFECT_IN = ("objects", "none")  # worlds in which something is expected of perfect masks
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
EXCESS = "_excess"  # of a method: relevance of scored pixels less that at other images' places
REMOVED = "removed"  # cost of removing scored pixels, less that of removing another image's
EXPLAIN = {
    "images": 10_000,  # all test images, so that every seed explains the same ones
    "steps": 16,
    "fills": ["blur"],  # leaves no edges where it replaces pixels
    "checked_images": 8,
    "points": 4,
}


# With --only explanations, which take longer than training. Only a model that has learned the marks
# can show where they are, so they are as easy as in the demo.
EXPLAINED_SPLIT = [0.65, 0.1, 0.25]
EXPLAINED_DIFFICULTY = -1


@dataclass(frozen=True)
class ExplanationExpectation:
    """A measure of explanations (see `read_explanations`) whose mean, times `sign`, is positive in
    a world if explanations find the informative marks."""

    world: str
    text: str
    measure: str
    sign: int


EXPLANATION_EXPECTATIONS = tuple(
    ExplanationExpectation(world, text.format(than), measure, sign)
    for world, than, sign in (("objects", "more", 1), ("background", "less", -1))
    for measure, text in (
        (GRAD_CAM, "Grad-CAM puts {} relevance on scored pixels than their area"),
        (INTEGRATED_GRADIENTS, "integrated gradients put {} there than their area"),
        (GRAD_CAM + EXCESS, "Grad-CAM puts {} there than at the places of other images'"),
        (INTEGRATED_GRADIENTS + EXCESS, "integrated gradients put {} there than at these places"),
        (REMOVED, "removing scored pixels costs {} than removing as many of another image's"),
    )
)
# In the world `none`, the interval of every dataset's accuracy contains the majority's, and no more
# paired tests are significant at `LEVEL` than chance allows.


def main() -> None:
    arguments = parse_arguments()
    folder = ROOT / "results" / "calibrate"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.txt").write_text("\n".join(SELECTED) + "\n", encoding="utf-8")
    print_expectations(arguments)
    if arguments.only == "explanations":
        worlds = [w for w in arguments.worlds if explained_files(w, arguments.seeds)]
        lines = [each for world in worlds for each in explain_world(world, folder, arguments)]
        name = "verdicts_explanations.txt"
    else:
        lines = compare_worlds(folder, arguments)
        name = "verdicts.txt"
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def compare_worlds(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Run every world with all datasets; write accuracies to `folder` and return the verdicts."""
    accuracies, lines = [], []
    for world in arguments.worlds:
        explained = explained_files(world, arguments.seeds) if arguments.explain else []
        config = compared_config(world, arguments)
        run = run_world(config, ["table1.csv", *explained], folder, arguments)
        right, predictions = read_world(run, arguments.seeds, trained_on(world, arguments))
        accuracies += [row | {"world": world} for row in accuracy_rows(right)]
        lines += judge(world, right)
        if explained:
            lines += judge_explanations(world, *read_explanations(run, arguments.seeds))
        if world == "none":
            tests = paired_tests(predictions)
            lines += judge_tests(tests[tests["test_set"] != "im2gps3k"])
    pd.DataFrame(accuracies).to_csv(folder / "accuracy.csv", index=False)
    draw(pd.DataFrame(accuracies), folder / "accuracy.png")
    return lines


def explain_world(world: str, folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Train and explain the models of a world's original images; return the verdicts."""
    config = explanations_config(world, arguments)
    run = run_world(config, explained_files(world, arguments.seeds), folder, arguments)
    # Only a model that tells countries apart can show by what it does.
    right, _ = read_world(run, arguments.seeds, [ORIGINAL], [ORIGINAL, PERFECT])
    return judge(world, right) + judge_explanations(world, *read_explanations(run, arguments.seeds))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--only", choices=["explanations"])
    parser.add_argument(
        "--explain", action="store_true", help="explain models that are compared, too"
    )
    parser.add_argument(
        "--perfect-masks",
        nargs="*",
        choices=WORLDS,
        default=list(PERFECT_IN),
        help="worlds with models of images weighted by the generator's masks",
    )
    parser.add_argument("--images-per-country", type=int, default=60)
    parser.add_argument("--countries", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--world-seed", type=int, default=42)
    parser.add_argument("--cores", type=int, default=2)
    return parser.parse_args()


def print_expectations(arguments: argparse.Namespace) -> None:
    only = arguments.only == "explanations"
    alone = {ORIGINAL, MAJORITY}  # all that is compared if models are only explained
    asked = [e for e in EXPECTATIONS if not only or e.contrast.keys() <= alone]
    print("Expected, and written down before the first run:")
    for expectation in (*asked, *(EXPLANATION_EXPECTATIONS if only or arguments.explain else ())):
        print(f"  {expectation.world}: {expectation.text}")
    if not only:
        print("  none: every accuracy is the majority's")
        print(f"  none: no more paired tests below {LEVEL} than chance allows")
    print(flush=True)


def trained_on(world: str, arguments: argparse.Namespace) -> list[str]:
    """Return the datasets that the models of a world are trained on."""
    return [each for each in DATASETS if each != PERFECT or world in arguments.perfect_masks]


def world_config(world: str, arguments: argparse.Namespace, suffix: str = "") -> dict:
    """Return how a world's configuration differs from config/demo.yaml."""
    run = f"calibrate_{world}{suffix}"
    weighted = {"scores": "objects", "curve": "linear"}
    drawn = {
        "informative": world,
        "difficulty": 0,  # marks vary more than in the demo, which is made easy
        "countries": arguments.countries,
        "images_per_country": arguments.images_per_country,
        "test_set_images": 8,
    }
    classes = "results/calibrate/classes.txt"
    return {
        "run": run,
        "seed": arguments.world_seed,
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
                "options": {"folder": f"resources/{run}", "seed": arguments.world_seed} | drawn,
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
        "explain": EXPLAIN,
        "models": {"cnn": None, "clip": None},
        "seeds": arguments.seeds,
    }


def compared_config(world: str, arguments: argparse.Namespace) -> dict:
    """Return the configuration of a world whose models are compared."""
    config = world_config(world, arguments)
    config["datasets"] |= dict.fromkeys(set(DATASETS) - set(trained_on(world, arguments)))
    return config


def explanations_config(world: str, arguments: argparse.Namespace) -> dict:
    """Return the configuration of a world whose models of original images are only explained: the
    generator's own masks are the run's first, and only, score maps."""
    config = world_config(world, arguments, "_explanations")
    unused = dict.fromkeys((OWN, OTHER, INVERTED))
    config["datasets"] |= unused
    config["datasets"][PERFECT] |= {"train": False, "column": True}
    config["index"]["split"] = EXPLAINED_SPLIT
    for drawn in (config["demo"], config["segmentations"]["perfect"]["options"]):
        drawn["difficulty"] = EXPLAINED_DIFFICULTY
    return config


def explained_files(world: str, seeds: list[int]) -> list[str]:
    """Return the tables that explain the models of original images, below the run's folder; none
    in a world of which nothing is expected."""
    if world not in {expectation.world for expectation in EXPLANATION_EXPECTATIONS}:
        return []
    return [explanation_file(seed, "influence") for seed in seeds]


def explanation_file(seed: int, kind: str) -> str:
    return f"explanations/{MODEL}/{ORIGINAL}/{seed}_{kind}.csv"


def run_world(config: dict, files: list[str], folder: Path, arguments: argparse.Namespace) -> Path:
    """Make some files of a world's run and return its folder; stop this script if that fails."""
    run = Path("results", config["run"])
    overlay = folder / f"{config['run'].removeprefix('calibrate_')}.yaml"
    overlay.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
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
        *(str(run / name) for name in files),
    ]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit(f"the run {run.name} failed; see {run}/logs, then run this script again")
    return ROOT / run


def read_world(
    run: Path,
    seeds: list[int],
    datasets: Sequence[str] = DATASETS,
    columns: Sequence[str] = (ORIGINAL, OWN),
) -> tuple[dict[str, np.ndarray], list[tuple[str, str, str, pd.DataFrame]]]:
    """Read which answers are right, and the predictions of each model.

    Args:
        run: its folder.
        seeds: of the models.
        datasets: those that models were trained on; the original images are one of them.
        columns: datasets that every model was tested on, besides its own.

    Returns:
        For each dataset and for `MAJORITY`, bool (images, seeds), for the test images as that
        dataset shows them; and the predictions as `paired_tests` takes them.
    """
    with (run / "index/countries.csv").open(newline="") as file:
        kept = [row for row in csv.DictReader(file) if row["kept"] == "True"]
    majority = max(kept, key=lambda row: int(row["train"]))["country"]
    keys = [(dataset, seed) for dataset in datasets for seed in seeds]
    paths = [run / f"predictions/{MODEL}/{dataset}/{seed}.parquet" for dataset, seed in keys]
    shown = [list(dict.fromkeys([*columns, dataset])) for dataset, _ in keys]
    classes = sorted(row["country"] for row in kept)
    tables = read_predictions(paths, classes, shown, ["im2gps3k"])
    right: dict[str, list[np.ndarray]] = {name: [] for name in (*datasets, MAJORITY)}
    for (dataset, _), table in zip(keys, tables, strict=True):
        own = table[table["test_set"] == dataset].sort_values("image_id")
        right[dataset].append((own["country_1"] == own["label"]).to_numpy())
        if dataset == ORIGINAL:
            right[MAJORITY].append((own["label"] == majority).to_numpy())
    predictions = [(MODEL, d, str(s), t) for (d, s), t in zip(keys, tables, strict=True)]
    return {name: np.stack(answers, axis=1) for name, answers in right.items()}, predictions


def accuracy_rows(right: dict[str, np.ndarray]) -> list[dict]:
    """Return the accuracy (0–1) of each dataset with its 95 % interval over seeds and images."""
    rows = []
    for name, answers in right.items():
        low, high = interval_over_seeds(answers.astype(int))
        rows.append({"dataset": name, "accuracy": answers.mean(), "low": low, "high": high})
    return rows


def judge(world: str, right: dict[str, np.ndarray]) -> list[str]:
    """Return one line for each expectation of a world about the datasets of `right`: held,
    undecided or failed."""
    lines = []
    for expectation in EXPECTATIONS:
        if expectation.world == world and expectation.contrast.keys() <= right.keys():
            value = sum(w * right[name].astype(float) for name, w in expectation.contrast.items())
            low, high = interval_over_seeds(value)
            verdict = "held" if low > 0 else "failed" if high < 0 else "undecided"
            lines.append(line(world, verdict, expectation.text, value.mean(), low, high))
    if world == "none":
        for name in (each for each in DATASETS if each in right):
            value = right[name].astype(float) - right[MAJORITY]
            low, high = interval_over_seeds(value)
            verdict = "held" if low <= 0 <= high else "failed"
            text = f"{name} is at the majority"
            lines.append(line(world, verdict, text, value.mean(), low, high))
    return lines


def read_explanations(run: Path, seeds: list[int]) -> tuple[dict[str, np.ndarray], dict[str, bool]]:
    """Read what the explanations of the models of original images say of scored pixels.

    Returns:
        For each method, the share of relevance on scored pixels less their share of the area, and
        under its name with `EXCESS` less the share at the places of other images' scored pixels;
        for `REMOVED`, the probability of the right country that removing scored pixels costs, less
        what removing as many where another image has its scored pixels costs: float64
        (images, seeds), of the images that have a value for every seed. And whether the maps of
        each method passed their checks for every seed.
    """
    keys = [(MODEL, ORIGINAL, str(seed)) for seed in seeds]
    tables = {
        kind: read_row_tables(keys, [str(run / explanation_file(seed, kind)) for seed in seeds])
        for kind in ("influence", "changes", "checks")
    }
    found: dict[str, list[pd.Series]] = {}
    for *_, table in tables["influence"]:
        for method, part in table[table["class"] == ALL].groupby("method"):
            part = part.set_index("image_id")
            found.setdefault(str(method), []).append(part["relevance"] - part["area"])
            excess = (part["relevance"] - part["control"]).dropna()
            found.setdefault(f"{method}{EXCESS}", []).append(excess)
    for *_, table in tables["changes"]:
        after = table.pivot(index="image_id", columns="change", values="probability_after")
        found.setdefault(REMOVED, []).append(after["removed_control"] - after["removed"])
    values = {
        name: pd.concat(columns, axis=1, join="inner").to_numpy(float)
        for name, columns in found.items()
    }
    shown = faithfulness(tables["checks"]).groupby("method")["shown"].all()
    return values, {str(method): bool(each) for method, each in shown.items()}


def judge_explanations(
    world: str, values: dict[str, np.ndarray], shown: dict[str, bool]
) -> list[str]:
    """Return one line for each expectation of a world's explanations: held, undecided, failed, or
    not shown, because the maps did not pass their checks."""
    lines = []
    for expectation in EXPLANATION_EXPECTATIONS:
        if expectation.world != world:
            continue
        value = expectation.sign * values[expectation.measure]
        low, high = interval_over_seeds(value)
        verdict = "held" if low > 0 else "failed" if high < 0 else "undecided"
        if not shown.get(expectation.measure.removesuffix(EXCESS), True):
            verdict = "not shown"
        lines.append(line(world, verdict, expectation.text, value.mean(), low, high))
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
        # No point where a world has no models of a dataset.
        shown = 100 * rows.reindex(DATASETS)[["accuracy", "low", "high"]]
        error = [shown.accuracy - shown.low, shown.high - shown.accuracy]
        axes.errorbar(range(len(shown)), shown.accuracy, error, fmt="o", capsize=3)
        axes.axhline(100 * rows.loc[MAJORITY, "accuracy"], linestyle=":", color="gray")
        names = [name.replace("_", "\n") for name in DATASETS]
        axes.set_xticks(range(len(shown)), names, fontsize=8)
        axes.set_xlim(-0.4, len(shown) - 0.6)
        axes.set_title(f"informative: {world}")
        axes.set_ylim(0, 100)
        axes.set_ylabel("accuracy, %" if world == worlds[0] else "")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
