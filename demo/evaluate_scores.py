"""Evaluate the demo's score maps on scenes that its classifier has not seen.

    .venv/bin/python demo/evaluate_scores.py --scenes 60

A pixel is lit if its score is 50 or more. Three ways to name the masks of the demo's SAM are
compared: the demo's classifier, the ImageNet classifier with the study's class list, and the
generator's true names, which leave only SAM's errors.

The last table compares class lists: how much of the picture each one lights, and how often the
marks of the lit objects alone would reveal the country to someone who knows the generator's
weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "demo")]

import object_data
from object_data import CLASSES, NAMES, LabeledScene

from geoloc.segmentation.classifiers import Classifier, build_classifier
from geoloc.segmentation.crops import cut_crops
from geoloc.segmentation.scoring import read_selected, score_map
from geoloc.types import BEST_CLASSES, Segments
from scenes.marks import KEPT, TABLE

LIT = 50  # score
LARGE, SMALL = 0.01, 0.001  # share of the picture
DEMO, IMAGENET, PERFECT = "demo_objects", "ImageNet names", "perfect names"
WAYS = (DEMO, IMAGENET, PERFECT)
SELECTED = ROOT / "demo" / "selected_classes.txt"
CLASS_LISTS = (
    ("pole", "sign"),
    ("pole", "sign", "roof"),
    ("pole", "sign", "roof", "car"),
    ("pole", "sign", "roof", "car", "bollard"),
    ("pole", "sign", "roof", "car", "bollard", "house"),
)
MARK_OF_KIND = {"sign": "sign", "roof": "roof", "house": "wall"}  # drawn for each object
MARK_OF_SCENE = {"pole": "pole", "bollard": "bollard"}  # the same for all objects of a scene
VISIBLE = 0.0005  # share of the picture; marks of smaller objects count as invisible
DRAWS = 40  # draws of the marks of each scene


@dataclass(frozen=True)
class Judged:
    """The results of one scene.

    Attributes:
        kind: int64 (objects,), row in `NAMES`.
        share: float64 (objects,), share of the picture.
        lit: float64 (objects, 3), share of each object that is lit in each of `WAYS`.
        name: int64 (masks, 2), the true and the predicted row in `NAMES` of each mask.
        by_list: float64 (objects, lists), share of each object that each of `CLASS_LISTS` lights.
    """

    kind: np.ndarray
    share: np.ndarray
    lit: np.ndarray
    name: np.ndarray
    by_list: np.ndarray


def main() -> None:
    arguments = parse_arguments()
    selected = read_selected(arguments.selected, vocabulary_name="demo").tolist()
    with ProcessPoolExecutor(arguments.workers) as pool:
        count = arguments.scenes
        jobs = pool.map(
            judge_scene,
            [arguments.weights] * count,
            [tuple(selected)] * count,
            [arguments.seed] * count,
            range(count),
        )
        scenes = list(jobs)
    print(
        f"{count} scenes of seed {arguments.seed}; selected: "
        f"{', '.join(NAMES[k] for k in selected)}\n"
    )
    print(targets_table(scenes, selected))
    print(kinds_table(scenes))
    print(confusion(scenes))
    print(class_lists_table(scenes))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=ROOT / "demo" / "objects.safetensors")
    parser.add_argument("--selected", type=Path, default=SELECTED, help="class list")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--seed", type=int, default=5000, help="training used 31")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    return parser.parse_args()


@cache
def classifier(name: str, weights: Path | None) -> Classifier:
    return build_classifier(name, weights and str(weights), "cpu")


def judge_scene(weights: Path, selected: tuple[int, ...], seed: int, number: int) -> Judged:
    """Segment, name and score a scene in each of the `WAYS`."""
    torch.set_num_threads(1)
    scene = object_data.draw(seed, number)
    segments = object_data.segmenter().segment([scene.image])[0]
    truth = object_data.labels(scene, segments)
    study = read_selected(ROOT / "config" / "selected_classes.txt")
    maps = []
    for way, classes in ((IMAGENET, study), (PERFECT, selected), (DEMO, selected)):
        found = named(scene, segments, way, truth, weights)
        maps.append(score_map(found, classes))
    lit = np.stack([maps[2], maps[0], maps[1]]) >= LIT
    names = np.stack([truth, found.class_id[:, 0]], axis=1)
    lists = [score_map(found, [NAMES.index(k) for k in kinds]) >= LIT for kinds in CLASS_LISTS]
    return judge(scene, lit, names, np.stack(lists))


def named(
    scene: LabeledScene, segments: Segments, way: str, truth: np.ndarray, weights: Path
) -> Segments:
    """Return the masks with classes from one of the `WAYS`; masks without a crop have none."""
    class_id = np.full((len(segments), BEST_CLASSES), -1, np.int16)
    probability = np.zeros((len(segments), BEST_CLASSES), np.float32)
    if way == PERFECT:
        class_id[:, 0], probability[:, 0] = truth, 1
    else:
        model = (
            classifier("demo_objects", weights)
            if way == DEMO
            else classifier("efficientnet_lite0", None)
        )
        crops, rows = cut_crops(scene.image, segments, model.resize, model.input_size)
        class_id[rows], probability[rows] = model.classify(torch.from_numpy(crops))
    return Segments(**vars(segments) | {"class_id": class_id, "class_probability": probability})


def judge(scene: LabeledScene, lit: np.ndarray, name: np.ndarray, by_list: np.ndarray) -> Judged:
    """Measure how much of each object is lit.

    `lit` is bool (3, 640, 640), `by_list` is bool (lists, 640, 640).
    """
    ids = scene.ids.ravel()
    area = np.bincount(ids)
    seen = np.flatnonzero(area)
    seen = seen[seen > 0]
    maps = np.concatenate([lit, by_list])
    on = np.stack([np.bincount(ids[one.ravel()], minlength=len(area)) for one in maps], axis=1)
    share = on[seen] / area[seen, None]
    ways = len(lit)
    return Judged(scene.kind[seen], area[seen] / ids.size, share[:, :ways], name, share[:, ways:])


def pooled(scenes: list[Judged], choose) -> np.ndarray:
    """Return the lit share of the area of all chosen objects, (3,); NaN without objects."""
    area, on = 0.0, np.zeros(len(WAYS))
    for scene in scenes:
        rows = choose(scene)
        area += scene.share[rows].sum()
        on += (scene.share[rows, None] * scene.lit[rows]).sum(axis=0)
    return on / area if area else np.full(len(WAYS), np.nan)


def targets_table(scenes: list[Judged], selected: list[int]) -> str:
    """Return a Markdown table of the numbers that have a target."""

    def chosen(s: Judged) -> np.ndarray:
        return np.isin(s.kind, selected)

    def large(kinds: list[int]):
        return lambda s: np.isin(s.kind, kinds) & (s.share >= LARGE)

    rows = [
        ("selected objects above 1 %, lit", large(selected), "≥ 75"),
        ("everything else, lit", lambda s: ~chosen(s), "≤ 1.5"),
        *(
            (f"{name} above 1 %, lit", large([NAMES.index(name)]), f"≥ {target}")
            for name, target in (("car", 85), ("roof", 60), ("pole", 60))
        ),
        (
            "selected objects of 0.1–1 %, lit",
            lambda s: chosen(s) & (s.share >= SMALL) & (s.share < LARGE),
            "≥ 42",
        ),
        ("sky, lit", lambda s: s.kind == NAMES.index("sky"), "≤ 1"),
        ("whole picture, lit", lambda s: s.kind >= 0, ""),
    ]
    lines = [f"| share of area, % | {' | '.join(WAYS)} | target |", "|---|--:|--:|--:|--:|"]
    for title, choose, target in rows:
        values = " | ".join(f"{100 * value:.1f}" for value in pooled(scenes, choose))
        lines.append(f"| {title} | {values} | {target} |")
    names = np.concatenate([scene.name for scene in scenes])
    right = 100 * (names[:, 0] == names[:, 1]).mean()
    lines.append(f"| masks named right, % of {len(names)} | {right:.1f} | | 100.0 | ≥ 90 |")
    area = sum(s.share[chosen(s)].sum() for s in scenes) / len(scenes)
    lines.append(f"\nSelected objects are {100 * area:.1f} % of the picture.\n")
    return "\n".join(lines)


def kinds_table(scenes: list[Judged]) -> str:
    """Return a Markdown table of each kind: its share of the picture and its lit share."""
    lines = [
        f"| kind | % of the picture | {' | '.join(f'lit, {way}' for way in WAYS)} "
        "| lit above 1 %, demo_objects |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row, name in enumerate(NAMES):
        share = sum(s.share[s.kind == row].sum() for s in scenes) / len(scenes)
        if share:
            values = [*pooled(scenes, lambda s, row=row: s.kind == row)]
            values.append(
                pooled(scenes, lambda s, row=row: (s.kind == row) & (s.share >= LARGE))[0]
            )
            cells = " | ".join("–" if np.isnan(v) else f"{100 * v:.1f}" for v in values)
            lines.append(f"| {name} | {100 * share:.2f} | {cells} |")
    return "\n".join(lines) + "\n"


def confusion(scenes: list[Judged]) -> str:
    """Return a Markdown table of the masks' names: how many are right, the most common error."""
    names = np.concatenate([scene.name for scene in scenes])
    table = np.zeros((CLASSES, CLASSES), int)
    np.add.at(table, tuple(names.T), 1)
    lines = [
        "| masks of | number | named right, % | most often mistaken for |",
        "|---|--:|--:|---|",
    ]
    for row in np.flatnonzero(table.sum(axis=1)):
        wrong = table[row] * (np.arange(CLASSES) != row)
        worst = f"{NAMES[wrong.argmax()]} ({wrong.max()})" if wrong.any() else "–"
        count = table[row].sum()
        lines.append(f"| {NAMES[row]} | {count} | {100 * table[row, row] / count:.0f} | {worst} |")
    return "\n".join(lines) + "\n"


def class_lists_table(scenes: list[Judged]) -> str:
    """Return a Markdown table of what each of `CLASS_LISTS` lights, and how much that reveals."""
    lines = [
        "| class list | lit, % of the picture | share of it not selected, % "
        "| country revealed, % |",
        "|---|--:|--:|--:|",
    ]
    for column, kinds in enumerate(CLASS_LISTS):
        rows = [NAMES.index(kind) for kind in kinds]
        on = [scene.share * scene.by_list[:, column] for scene in scenes]
        outside = sum(o[~np.isin(s.kind, rows)].sum() for o, s in zip(on, scenes, strict=True))
        total = sum(o.sum() for o in on)
        told = np.mean([told_by_marks(scene, column, kinds) for scene in scenes])
        lines.append(
            f"| {', '.join(kinds)} | {100 * total / len(scenes):.1f} | {100 * outside / total:.1f} "
            f"| {100 * told:.0f} |"
        )
    return "\n".join(lines) + f"\n\nChance is {100 / len(KEPT):.0f} %.\n"


def told_by_marks(scene: Judged, column: int, kinds: Sequence[str]) -> float:
    """Return how often the marks of a scene's lit objects reveal the right country of `marks.KEPT`.

    Values are drawn for every country, as the generator draws them, and the most probable country
    is the answer. The absence of an object reveals nothing here.
    """
    rng = np.random.default_rng(len(scene.kind))
    lit = (scene.by_list[:, column] >= 0.5) & (scene.share >= VISIBLE)
    count = {kind: int(lit[scene.kind == NAMES.index(kind)].sum()) for kind in kinds}
    draws = {MARK_OF_KIND[kind]: count[kind] for kind in kinds if kind in MARK_OF_KIND}
    draws |= {MARK_OF_SCENE[k]: min(count[k], 1) for k in kinds if k in MARK_OF_SCENE}
    truth = np.repeat(np.arange(len(KEPT)), DRAWS)
    score = rng.uniform(0, 1e-6, (len(truth), len(KEPT)))  # breaks ties at random
    for mark, number in draws.items():
        weights = mark_weights(mark)
        for _ in range(number):
            value = (rng.random(len(truth))[:, None] > weights[truth].cumsum(axis=1)).sum(axis=1)
            score += np.log(weights.T[np.minimum(value, weights.shape[1] - 1)] + 1e-9)
    return float((score.argmax(axis=1) == truth).mean())


def mark_weights(mark: str) -> np.ndarray:
    """Return P(value | country, the object exists) of `marks.KEPT`, float64 (countries, values)."""
    values = sorted({value for c in KEPT for value in TABLE[mark][c]} - {"none"})
    rows = np.array([[TABLE[mark][c].get(value, 0.0) for value in values] for c in KEPT])
    return rows / rows.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
