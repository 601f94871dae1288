"""Masking: the published code against the engine, on the same images with the same weights.

    python bench/masking.py                 # demo models; ViT-B; ViT-H if there is a GPU
    python bench/masking.py --cases demo
    python bench/masking.py --cases photographs --photographs FOLDER

Each measurement runs in its own process, to measure its own peak memory. Prints a table and writes
bench/results/masking.json. Published code and engine take turns, and the ratio of their speeds is
the median over the turns; so do the engine and the bare forward passes, image by image, for the
efficiency. Other work on the machine then does little harm to ratios, but seconds include it.
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
from bench.random_sam import iou_threshold, make_masks_local
from bench.rows import Row
from geoloc.images import decode
from geoloc.segmentation.classifiers import demo_objects
from geoloc.segmentation.classifiers.efficientnet_lite0 import EfficientNetLite0
from geoloc.segmentation.classifiers.resnet50 import ResNet50
from geoloc.segmentation.crops import cut_crops
from geoloc.segmentation.scoring import read_selected, score_map
from geoloc.segmentation.segmenters.sam.generator import SamSegmenter
from geoloc.segmentation.segmenters.sam.models import build_sam
from geoloc.segmentation.shard import segment_shard
from geoloc.stores import write_images
from scenes.draw import draw_scene
from scenes.marks import COUNTRIES

PHOTOGRAPH = 1024  # longer side in pixels


@dataclass(frozen=True)
class Task:
    """Images of a size through a SAM and a classifier.

    `masks` is how many masks the first image has with random weights (`bench.random_sam`), by the
    threshold of predicted IoU; the study's published example has 61. None is for the demo's trained
    weights and threshold. `folder` holds the images; None for generated scenes.
    """

    sam: str
    classifier: str
    images: int
    points_per_side: int
    masks: int | None = None
    folder: str | None = None
    side: int = 640
    precision: str = "float32"
    compile: bool = False
    device: str = "cpu"
    threads: int = 2
    turns: int = 3


DEMO = Task("demo", "demo_objects", images=2, points_per_side=32)
VIT_B = Task("vit_b", "resnet50", images=1, points_per_side=16, masks=60, turns=2)
VIT_H = [
    replace(VIT_B, sam="vit_h", images=8, points_per_side=32, device="cuda", precision=p, compile=c)
    for p in ("float32", "bfloat16")
    for c in (False, True)
]
CASES = {"demo": [DEMO], "vit_b": [VIT_B], "vit_h": VIT_H, "photographs": [DEMO]}
TARGETS = {  # speed-up, efficiency
    "demo": (4, 0.85),
    "vit_b": (1.5, 0.85),
    "vit_h": (10, 0.7),
    "photographs": (None, None),
}
MORE_MEMORY = 1.1  # for 16 images relative to 4, at most
GROWTH_SCENES = 4  # distinct ones, so that more images are not harder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=[*CASES, "growth"])
    parser.add_argument(
        "--photographs", type=Path, help="folder of JPEG images, for the case photographs"
    )
    arguments = parser.parse_args()
    every = [name for name in CASES if name != "photographs" or arguments.photographs]
    cases = arguments.cases or [*every, "growth"]
    if "photographs" in cases and not arguments.photographs:
        parser.error("the case photographs needs --photographs FOLDER")
    found = []
    for name in cases:
        for task in CASES.get(name, ()):
            if name == "photographs":
                task = replace(task, folder=str(arguments.photographs))
            found += compare(task, *TARGETS[name])
    if "growth" in cases:
        found += growth(DEMO)
    rows.save("masking", found)


def compare(task: Task, faster: float | None, efficiency: float | None) -> list[Row]:
    """Run both on the images of a task, each in its own process, in turns."""
    case = (
        f"{task.sam}, {task.classifier}, {'photographs, ' if task.folder else ''}"
        f"{task.points_per_side}² points, {task.device}, "
        f"{task.precision}{', compiled' if task.compile else ''}"
        f"{f', about {task.masks} masks' if task.masks else ''}"
    )
    if task.device == "cuda" and not torch.cuda.is_available():
        return [Row(case, "images/s", None, target=faster)]
    with tempfile.TemporaryDirectory() as folder:
        weights = f"{folder}/sam.pt"
        settings = in_process(write_random, task, weights) if task.masks else {}
        turns = [
            (in_process(run_engine, task, settings), in_process(run_published, task, settings))
            for _ in range(task.turns)
        ]
    engine, plain = turns[0]
    speeds = [[task.images / way["seconds"] for way in turn] for turn in turns]
    middle = sorted(speeds, key=lambda turn: turn[0] / turn[1])[len(speeds) // 2]
    share = statistics.median(engine["efficiency"] for engine, _ in turns)
    speed = (
        rows.rated(case, "images/s", *middle, at_least=faster)
        if faster
        else Row(case, "images/s", *middle, ratio=middle[0] / middle[1])
    )
    return [
        speed,
        rows.bounded(case, "efficiency", share, at_least=efficiency)
        if efficiency
        else Row(case, "efficiency", share),
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
    sam, classifier, _ = models(task, {})
    segmenter = SamSegmenter(sam, device=task.device, **knobs(task, {}))
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
    if task.folder:
        return photographs(Path(task.folder), task.images)
    return [
        draw_scene(
            COUNTRIES[n % len(COUNTRIES)], np.random.default_rng([5, n]), (task.side,) * 2
        ).image
        for n in range(task.images)
    ]


def photographs(folder: Path, count: int) -> list[np.ndarray]:
    """Read the first JPEG images of a folder, uint8 (H, W, 3), reduced to PHOTOGRAPH pixels."""
    paths = sorted(folder.glob("*.jpg"))[:count]
    if len(paths) < count:
        raise SystemExit(f"{folder}: {len(paths)} JPEG images (*.jpg), {count} are needed")
    found = []
    for path in paths:
        image = decode(path.read_bytes())
        scale = min(PHOTOGRAPH / max(image.shape[:2]), 1)
        size = [round(scale * n) for n in image.shape[1::-1]]
        found.append(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    return found


def models(task: Task, settings: dict):
    """Return the SAM, the classifier and the selected classes of a task."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    weights = settings["weights"] if task.masks else ROOT / "demo" / "sam.safetensors"
    sam = build_sam(task.sam, weights).to(task.device)
    if task.masks:
        sam.mask_threshold = settings["mask_threshold"]
    kind, list_of_classes, vocabulary = {
        "demo_objects": (EfficientNetLite0, "demo/selected_classes.txt", "demo"),
        "resnet50": (ResNet50, "config/selected_classes.txt", "imagenet"),
    }[task.classifier]
    device = torch.device(task.device)
    classifier = kind(
        network(task.classifier), device, precision=task.precision, compile=task.compile
    )
    return sam, classifier, read_selected(ROOT / list_of_classes, vocabulary_name=vocabulary)


def network(classifier: str) -> torch.nn.Module:
    """Return the classifier's network, unchanged; ResNet50 has random weights."""
    if classifier == "demo_objects":
        return demo_objects.load_model(ROOT / "demo" / "objects.safetensors")
    return resnet50()


def knobs(task: Task, settings: dict) -> dict[str, float]:
    """Return settings of SamAutomaticMaskGenerator."""
    if task.masks:
        chosen = {name: settings[name] for name in ("pred_iou_thresh", "stability_score_thresh")}
    else:
        demo = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text(encoding="utf-8"))
        chosen = {"pred_iou_thresh": demo["segmentations"]["sam"]["pred_iou_thresh"]}
    return {"points_per_side": task.points_per_side} | chosen


def write_random(task: Task, path: str) -> dict:
    """Write random weights whose masks are local, and return the settings that go with them."""
    torch.set_num_threads(task.threads)
    torch.manual_seed(0)
    sam = build_sam(task.sam).to(task.device)
    image = scenes(task)[0]
    make_masks_local(sam, image)
    threshold = iou_threshold(sam, image, task.masks, task.points_per_side)
    torch.save(sam.state_dict(), path)
    return {
        "weights": path,
        "mask_threshold": sam.mask_threshold,
        "pred_iou_thresh": threshold,
        "stability_score_thresh": 0.0,
    }


def run_published(task: Task, settings: dict) -> dict[str, float]:
    task = replace(task, compile=False, precision="float32")
    sam, classifier, selected = models(task, settings)
    classifier.model = network(task.classifier).eval().to(task.device)  # unmodified
    settings, images = knobs(task, settings), scenes(task)
    start = time.perf_counter()
    masks = [
        published.score_map(image, sam, classifier, selected, **settings)[1] for image in images
    ]
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "masks": sum(masks), "peak GiB": peak_memory()}


def run_engine(task: Task, settings: dict) -> dict[str, float]:
    """Run the engine and, for comparison, only its models' forward passes on the same batches."""
    sam, classifier, selected = models(task, settings)
    segmenter = SamSegmenter(
        sam,
        device=task.device,
        precision=task.precision,
        compile=task.compile,
        **knobs(task, settings),
    )
    images = scenes(task)
    if task.compile:
        segment_and_score(images[0], segmenter, classifier, selected)
    seconds, masks, shares = 0.0, 0, []
    for image in images:
        start = time.perf_counter()
        found, crops = segment_and_score(image, segmenter, classifier, selected)
        whole = time.perf_counter() - start
        shares.append(bare_seconds(image, segmenter, classifier, crops) / whole)
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
