"""Masking: the published code against the engine, on the same images with the same weights.

    python bench/masking.py                 # demo models; ViT-B; ViT-H if there is a GPU
    python bench/masking.py --cases demo

Each measurement runs in its own process, to measure its own peak memory. Prints a table and writes
bench/results/masking.json. Ratios are of one run; seconds are of this machine. The times of the
engine and of the bare forward passes are close, so the two take turns image by image, and the
median of their ratios is the efficiency: other work on the machine then does little harm.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from torchvision.models import resnet50

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from bench import published, rows
from bench.processes import in_process, peak_memory
from bench.rows import Row
from geoloc.segmentation.classifiers.efficientnet_lite0 import EfficientNetLite0, load_model
from geoloc.segmentation.classifiers.resnet50 import ResNet50
from geoloc.segmentation.crops import cut_crops
from geoloc.segmentation.scoring import read_selected, score_map
from geoloc.segmentation.segmenters.sam.generator import SamSegmenter
from geoloc.segmentation.segmenters.sam.models import build_sam
from geoloc.segmentation.shard import segment_shard
from geoloc.stores import write_images
from scenes.draw import draw_scene
from scenes.marks import COUNTRIES

EVERY_MASK = -1e9  # random weights may predict any IoU


@dataclass(frozen=True)
class Task:
    """Images of a size through a SAM and a classifier. Weights of None are random, with seed 0.

    `kept` is the share of the masks of random weights that pass by predicted IoU, because no fixed
    threshold is meaningful for them. None is for trained weights, with the threshold of
    config/demo.yaml.
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
    turns: int = 5


DEMO = Task("demo", "efficientnet_lite0", "demo/sam.safetensors", images=6, points_per_side=32)
VIT_B = Task("vit_b", "resnet50", None, images=1, points_per_side=32, kept=0.1, turns=2)
VIT_H = [
    replace(VIT_B, sam="vit_h", images=8, device="cuda", precision=p, compile=c)
    for p in ("float32", "bfloat16")
    for c in (False, True)
]
CASES = {"demo": [DEMO], "vit_b": [VIT_B], "vit_h": VIT_H}
TARGETS = {"demo": (4, 0.85), "vit_b": (1.5, 0.85), "vit_h": (10, 0.7)}  # speed-up, efficiency
MORE_MEMORY = 1.1  # for 16 images relative to 4, at most
GROWTH_SCENES = 4  # distinct ones, so that more images are not harder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    found = []
    for name in arguments.cases:
        for task in CASES[name]:
            found += compare(task, *TARGETS[name])
    if "demo" in arguments.cases:
        found += growth(DEMO)
    rows.save("masking", found)


def compare(task: Task, faster: float, efficiency: float) -> list[Row]:
    """Run both on the images of a task, each in its own process."""
    case = (
        f"{task.sam}, {task.classifier}, {task.points_per_side}² points, {task.device}, "
        f"{task.precision}{', compiled' if task.compile else ''}"
    )
    if task.device == "cuda" and not torch.cuda.is_available():
        return [Row(case, "images/s", None, target=faster)]
    threshold = in_process(predicted_iou_threshold, task) if task.kept else None
    plain = in_process(run_published, task, threshold)
    engine = in_process(run_engine, task, threshold)
    speeds = [task.images / way["seconds"] for way in (engine, plain)]
    return [
        rows.rated(case, "images/s", *speeds, at_least=faster),
        rows.bounded(case, "efficiency", engine["efficiency"], at_least=efficiency),
        Row(case, "masks an image", engine["masks"] / task.images, plain["masks"] / task.images),
        Row(case, "peak GiB", engine["peak GiB"], plain["peak GiB"]),
    ]


def growth(task: Task) -> list[Row]:
    """Measure time and memory of segmenting a shard as images and points grow."""
    table, memory = [], {}
    for images, points_per_side in ((1, 16), (4, 16), (16, 16), (2, 8), (2, 16), (2, 32)):
        grown = replace(task, images=images, points_per_side=points_per_side)
        found = in_process(run_shard, grown)
        case = f"growth: {images} images, {points_per_side}² points"
        table.append(Row(case, "seconds an image", found["seconds"] / images))
        table.append(Row(case, "peak GiB", found["peak GiB"]))
        memory[images, points_per_side] = found["peak GiB"]
    more = memory[16, 16] / memory[4, 16]
    case = "growth: 16 images by 4 images"
    return [*table, rows.bounded(case, "peak GiB, ratio", more, at_most=MORE_MEMORY)]


def run_shard(task: Task) -> dict[str, float]:
    """Run a shard of JPEG images through the engine, as the workflow's rule `segment` does."""
    sam, classifier, _ = models(task)
    segmenter = SamSegmenter(sam, device=task.device, **knobs(task, None))
    place = {"latitude": 0.0, "longitude": 0.0, "split": "train", "source": "bench"}
    drawn = scenes(replace(task, images=min(task.images, GROWTH_SCENES)))
    jpegs = [cv2.imencode(".jpg", scene[..., ::-1])[1].tobytes() for scene in drawn]
    shard = (
        {"image_id": f"{n}", "image": jpegs[n % len(jpegs)]} | place for n in range(task.images)
    )
    with tempfile.TemporaryDirectory() as name:
        store = Path(name) / "images.h5"
        write_images(store, shard)
        start = time.perf_counter()
        segment_shard(store, Path(name) / "segments.h5", segmenter, classifier)
        return {"seconds": time.perf_counter() - start, "peak GiB": peak_memory()}


def scenes(task: Task) -> list[np.ndarray]:
    return [
        draw_scene(
            COUNTRIES[n % len(COUNTRIES)], np.random.default_rng([5, n]), (task.side,) * 2
        ).image
        for n in range(task.images)
    ]


def models(task: Task):
    """Return the SAM, the classifier and the selected classes of a task."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    sam = build_sam(task.sam, task.sam_weights and ROOT / task.sam_weights).to(task.device)
    kind = {"efficientnet_lite0": EfficientNetLite0, "resnet50": ResNet50}[task.classifier]
    device = torch.device(task.device)
    classifier = kind(
        network(task.classifier), device, precision=task.precision, compile=task.compile
    )
    return sam, classifier, read_selected(ROOT / "config" / "selected_classes.txt")


def network(classifier: str) -> torch.nn.Module:
    """Return the classifier's network as published by others; ResNet50 has random weights."""
    return load_model() if classifier == "efficientnet_lite0" else resnet50()


def knobs(task: Task, threshold: float | None) -> dict[str, float]:
    """Return settings of SamAutomaticMaskGenerator.

    `threshold` is that of predicted IoU, for random weights.
    """
    if threshold is None:
        demo = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())["segment"]
        chosen = {"pred_iou_thresh": demo["pred_iou_thresh"]}
    else:
        chosen = {"pred_iou_thresh": threshold, "stability_score_thresh": 0.0}
    return {"points_per_side": task.points_per_side} | chosen


def predicted_iou_threshold(task: Task) -> float:
    """Return the predicted IoU exceeded by the share `kept` of the masks of random weights.

    A coarse grid is used to find it.
    """
    sam, _, _ = models(task)
    settings = knobs(replace(task, points_per_side=8), EVERY_MASK) | {"box_nms_thresh": 1.0}
    (segments,) = SamSegmenter(sam, device=task.device, **settings).segment(scenes(task)[:1])
    return float(np.quantile(segments.predicted_iou, 1 - task.kept))


def run_published(task: Task, threshold: float | None) -> dict[str, float]:
    task = replace(task, compile=False, precision="float32")
    sam, classifier, selected = models(task)
    classifier.model = network(task.classifier).eval().to(task.device)  # unmodified
    settings, images = knobs(task, threshold), scenes(task)
    start = time.perf_counter()
    masks = [
        published.score_map(image, sam, classifier, selected, **settings)[1] for image in images
    ]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "masks": sum(masks), "peak GiB": peak_memory()}


def run_engine(task: Task, threshold: float | None) -> dict[str, float]:
    """Run the engine and, for comparison, only its models' forward passes on the same batches."""
    sam, classifier, selected = models(task)
    segmenter = SamSegmenter(
        sam,
        device=task.device,
        precision=task.precision,
        compile=task.compile,
        **knobs(task, threshold),
    )
    images = scenes(task)
    if task.compile:
        segment_and_score(images[0], segmenter, classifier, selected)
    seconds, masks, shares = 0.0, 0, []
    for turn in range(task.turns):
        for image in images:
            start = time.perf_counter()
            found, crops = segment_and_score(image, segmenter, classifier, selected)
            whole = time.perf_counter() - start
            shares.append(bare_seconds(image, segmenter, classifier, crops) / whole)
            if turn == 0:
                seconds, masks = seconds + whole, masks + found
    return {
        "seconds": seconds,
        "masks": masks,
        "peak GiB": peak_memory(),
        "efficiency": statistics.median(shares),
    }


def segment_and_score(image, segmenter, classifier, selected) -> tuple[int, np.ndarray]:
    """Compute masks, classes and score map of an image; return the mask count and the crops."""
    (segments,) = segmenter.segment([image])
    crops, cut = cut_crops(image, segments, classifier.resize, classifier.input_size)
    found = classifier.classify(torch.from_numpy(crops))
    segments.class_id[cut], segments.class_probability[cut] = found
    score_map(segments, selected)
    return len(segments), crops


@torch.inference_mode()
def bare_seconds(image, segmenter, classifier, crops: np.ndarray) -> float:
    """Time encoder, decoder and classifier alone, with the batches of the engine."""
    small = segmenter.transform.apply_image(image)
    crops = torch.from_numpy(crops)
    start = time.perf_counter()
    embedding = segmenter._encode([small])[0]
    segmenter._decode(embedding, image.shape[:2])
    classifier.classify(crops)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
