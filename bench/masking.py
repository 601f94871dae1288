"""Masking: the published way against the engine, on the same images with the same weights.

    python bench/masking.py                 # demo models; ViT-B; ViT-H if there is a GPU
    python bench/masking.py --rows demo

Every measurement has a process of its own, so that its peak memory is its own. Prints tables and
writes them as JSON. Ratios are of one run; seconds are of this machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from bench import published  # noqa: E402
from bench.processes import in_process, peak_memory  # noqa: E402
from geoloc.classifiers import build_classifier  # noqa: E402
from geoloc.crops import cut_crops  # noqa: E402
from geoloc.scenes.draw import draw_scene  # noqa: E402
from geoloc.scenes.marks import COUNTRIES  # noqa: E402
from geoloc.scoring import read_selected, score_map  # noqa: E402
from geoloc.segmenters.sam import SamSegmenter  # noqa: E402
from geoloc.segmenters.sam_models import build_sam  # noqa: E402

EVERY_MASK = -1e9  # predicted IoU of random weights may be anything


@dataclass(frozen=True)
class Task:
    """Images of a size through a SAM and a classifier. Weights None: random, seed 0.

    `kept`: the share of the masks of random weights that passes by predicted IoU, since to them no
    threshold means anything; None for trained weights, with the thresholds of config/demo.yaml.
    """

    sam: str
    classifier: str
    sam_weights: str | None
    images: int
    points_per_side: int
    kept: float | None = None
    side: int = 640
    precision: str = "float32"
    compile: bool = False
    device: str = "cpu"
    threads: int = 2


DEMO = Task("demo", "efficientnet_lite0", "demo/sam.safetensors", images=6, points_per_side=32)
VIT_B = Task("vit_b", "resnet50", None, images=1, points_per_side=8, kept=0.1)
ROWS = {
    "demo": [DEMO],
    "vit_b": [VIT_B],
    "vit_h": [
        replace(VIT_B, sam="vit_h", images=8, points_per_side=32, device="cuda", precision=p,
                compile=c)
        for p in ("float32", "bfloat16") for c in (False, True)
    ],
}  # fmt: skip


def main() -> None:
    arguments = parse_arguments()
    result = {"machine": machine(), "published against engine": [], "growth": []}
    for name in arguments.rows:
        for task in ROWS[name]:
            if task.device == "cuda" and not torch.cuda.is_available():
                print(f"{name}: not measured, there is no GPU")
                result["published against engine"].append({"row": name, "measured": False})
                break
            result["published against engine"].append({"row": name} | compare(task))
    if "demo" in arguments.rows:
        result["growth"] = growth(DEMO)
    print_tables(result)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "bench" / "masking.json")
    return parser.parse_args()


def machine() -> dict[str, object]:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"threads": DEMO.threads, "torch": torch.__version__, "gpu": gpu}


def compare(task: Task) -> dict[str, object]:
    """Both ways on the images of a task, each in a process of its own."""
    threshold = in_process(predicted_iou_threshold, task) if task.kept else None
    plain = in_process(run_published, task, threshold)
    engine = in_process(run_engine, task, threshold)
    return {
        "task": asdict(task),
        "published": plain,
        "engine": engine,
        "times as fast": plain["seconds"] / engine["seconds"],
        "efficiency": engine["bare seconds"] / engine["seconds"],
    }


def growth(task: Task) -> list[dict[str, object]]:
    """Time and memory of the engine as images and points grow."""
    more_images = [replace(task, images=n, points_per_side=16) for n in (1, 4, 16)]
    more_points = [replace(task, images=2, points_per_side=n) for n in (8, 16, 32)]
    return [
        {"images": t.images, "points": t.points_per_side**2} | in_process(run_engine, t, None)
        for t in (*more_images, *more_points)
    ]


def scenes(task: Task) -> list[np.ndarray]:
    return [
        draw_scene(COUNTRIES[n % len(COUNTRIES)], np.random.default_rng([5, n]), (task.side,) * 2)
        .image
        for n in range(task.images)
    ]  # fmt: skip


def models(task: Task):
    """The SAM, the classifier and the selected classes of a task."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    sam = build_sam(task.sam, task.sam_weights and ROOT / task.sam_weights).to(task.device)
    options = {"device": task.device, "precision": task.precision, "compile": task.compile}
    if task.classifier == "efficientnet_lite0":
        classifier = build_classifier(task.classifier, None, **options)
    else:
        from torchvision.models import resnet50

        from geoloc.classifiers.resnet50 import ResNet50

        options["device"] = torch.device(task.device)
        classifier = ResNet50(resnet50(), **options)
    return sam, classifier, read_selected(ROOT / "config" / "selected_classes.txt")


def knobs(task: Task, threshold: float | None) -> dict[str, float]:
    """Settings of SamAutomaticMaskGenerator; `threshold`: of predicted IoU, for random weights."""
    if threshold is None:
        demo = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())["segment"]
        chosen = {name: demo[name] for name in ("pred_iou_thresh", "stability_score_thresh")}
    else:
        chosen = {"pred_iou_thresh": threshold, "stability_score_thresh": 0.0}
    return {"points_per_side": task.points_per_side} | chosen


def predicted_iou_threshold(task: Task) -> float:
    """The predicted IoU that the share `kept` of all masks of random weights exceeds."""
    sam, _, _ = models(task)
    settings = knobs(task, EVERY_MASK) | {"box_nms_thresh": 1.0}
    (segments,) = SamSegmenter(sam, device=task.device, **settings).segment(scenes(task)[:1])
    return float(np.quantile(segments.predicted_iou, 1 - task.kept))


def run_published(task: Task, threshold: float | None) -> dict[str, float]:
    task = replace(task, compile=False, precision="float32")
    sam, classifier, selected = models(task)
    settings, images = knobs(task, threshold), scenes(task)
    start = time.perf_counter()
    masks = [published.score_map(image, sam, classifier, selected, **settings)[1]
             for image in images]  # fmt: skip
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "masks": sum(masks), "peak GiB": peak_memory()}


def run_engine(task: Task, threshold: float | None) -> dict[str, float]:
    """The engine, and beside it the bare forward passes of its models on the same batches."""
    sam, classifier, selected = models(task)
    segmenter = SamSegmenter(
        sam, device=task.device, precision=task.precision, compile=task.compile,
        **knobs(task, threshold),
    )  # fmt: skip
    images = scenes(task)
    if task.compile:
        segment_and_score(images[:1], segmenter, classifier, selected)
    start = time.perf_counter()
    masks, crops = segment_and_score(images, segmenter, classifier, selected)
    seconds = time.perf_counter() - start
    memory = peak_memory()
    bare = sum(bare_seconds(image, segmenter, classifier, crop)
               for image, crop in zip(images, crops, strict=True))  # fmt: skip
    return {"seconds": seconds, "masks": masks, "peak GiB": memory, "bare seconds": bare}


def segment_and_score(images, segmenter, classifier, selected) -> tuple[int, list[np.ndarray]]:
    """Masks, classes and score map of each image; how many masks, and the crops of each image."""
    masks, all_crops = 0, []
    for image in images:
        (segments,) = segmenter.segment([image])
        crops, rows = cut_crops(image, segments, classifier.resize, classifier.input_size)
        found = classifier.classify(torch.from_numpy(crops))
        segments.class_id[rows], segments.class_probability[rows] = found
        score_map(segments, selected)
        masks += len(segments)
        all_crops.append(crops)
    return masks, all_crops


@torch.inference_mode()
def bare_seconds(image, segmenter, classifier, crops: np.ndarray) -> float:
    """Time of encoder, decoder and classifier alone, with the batches of the engine."""
    small = segmenter.transform.apply_image(image)
    crops = torch.from_numpy(crops)
    start = time.perf_counter()
    embedding = segmenter._encode([small])[0]
    segmenter._decode(embedding, image.shape[:2])
    classifier.classify(crops)
    return time.perf_counter() - start


def print_tables(result: dict) -> None:
    print("\n| models | way | images/s | masks an image | peak GiB | times as fast | efficiency |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for row in result["published against engine"]:
        if "task" not in row:
            print(f"| {row['row']} | not measured: no GPU | | | | | |")
            continue
        task = row["task"]
        name = f"{task['sam']}, {task['classifier']}, {task['points_per_side']}² points"
        if task["device"] != "cpu":
            name += f", {task['precision']}{', compiled' if task['compile'] else ''}"
        for way, ratios in (
            ("published", "| 1 | |"),
            ("engine", f"| {row['times as fast']:.1f} | {row['efficiency']:.2f} |"),
        ):
            part = row[way]
            print(
                f"| {name} | {way} | {task['images'] / part['seconds']:.3g} "
                f"| {part['masks'] / task['images']:.0f} | {part['peak GiB']:.2f} {ratios}"
            )
    if result["growth"]:
        print("\n| engine, demo models: images | points | seconds | peak GiB |\n|--:|--:|--:|--:|")
    for row in result["growth"]:
        print(f"| {row['images']} | {row['points']} | {row['seconds']:.1f} "
              f"| {row['peak GiB']:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
