"""Evaluate the demo's SAM by object on unseen scenes, and print the model card's tables.

    .venv/bin/python demo/evaluate_sam.py --scenes 40

Masks are those of `SamAutomaticMaskGenerator`. Every object of at least 80 pixels counts once, with
the best IoU of any mask with its visible part.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from geoloc.segmentation.segmenters.sam.models import build_sam
from scenes.draw import draw_scene
from scenes.marks import COUNTRIES

SIDE = 640
SMALLEST = 80  # pixels
SIZES = ((0.01, "above 1 %"), (0.001, "0.1 to 1 %"), (0.0, "below 0.1 %"))
FOUND = 0.5  # IoU


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    generator = make_generator(
        arguments.weights,
        points_per_side=arguments.points_per_side,
        pred_iou_thresh=arguments.pred_iou_thresh,
        stability_score_thresh=arguments.stability_score_thresh,
    )
    found, masks, start = [], 0, time.monotonic()
    for number in range(arguments.scenes):
        objects, count = judge_scene(generator, arguments.seed, number)
        found += objects
        masks += count
    seconds = (time.monotonic() - start) / arguments.scenes
    print(
        f"{arguments.scenes} scenes, {len(found)} objects, {masks / arguments.scenes:.0f} masks "
        f"and {seconds:.1f} s a scene\n"
    )
    print(table("size", found, lambda entry: size_name(entry[1])))
    print(table("kind", found, lambda entry: entry[0]))
    both = [entry for entry in found if entry[0] in ("pole", "sign")]
    print(table("poles and signs", both, lambda entry: "all"))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=ROOT / "demo" / "sam.safetensors")
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=2000, help="training used 7 and 8")
    parser.add_argument("--points-per-side", type=int, default=32)
    parser.add_argument("--pred-iou-thresh", type=float, default=0.88)
    parser.add_argument("--stability-score-thresh", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def make_generator(weights: Path, **settings):
    """Return the mask generator of `segment_anything`; `settings` replace its defaults."""
    from segment_anything import SamAutomaticMaskGenerator

    return SamAutomaticMaskGenerator(build_sam("demo", weights), **settings)


def judge_scene(generator, seed: int, number: int) -> tuple[list[tuple[str, float, float]], int]:
    """Return kind, share of the picture and best IoU of each object, and the number of masks."""
    rng = np.random.default_rng([seed, number])
    scene = draw_scene(COUNTRIES[number % len(COUNTRIES)], rng, (SIDE, SIDE))
    masks = [entry["segmentation"] for entry in generator.generate(scene.image)]
    return judge(scene.instances, scene.kinds, masks), len(masks)


def judge(
    instances: np.ndarray, kinds: dict[int, str], masks: list[np.ndarray]
) -> list[tuple[str, float, float]]:
    """Return kind, share of the picture and best IoU of each object; masks are bool (H, W)."""
    area = np.bincount(instances.ravel())
    best = np.zeros(len(area))
    for mask in masks:
        both = np.bincount(instances[mask], minlength=len(area))
        best = np.maximum(best, both / (area + mask.sum() - both))
    return [
        (kind, area[number] / instances.size, float(best[number]))
        for number, kind in kinds.items()
        if area[number] >= SMALLEST
    ]


def size_name(share: float) -> str:
    return next(name for least, name in SIZES if share >= least)


def table(title: str, found: list[tuple[str, float, float]], group) -> str:
    """Return a Markdown table: number of objects, their mean best IoU, and how many are found."""
    rows = defaultdict(list)
    for entry in found:
        rows[group(entry)].append(entry[2])
    lines = [f"| {title} | objects | mean best IoU | IoU ≥ {FOUND} |", "|---|--:|--:|--:|"]
    for name, values in sorted(rows.items(), key=lambda row: -np.mean(row[1])):
        share = np.mean(np.array(values) >= FOUND)
        lines.append(f"| {name} | {len(values)} | {np.mean(values):.2f} | {100 * share:.0f} % |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
