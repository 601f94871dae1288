"""Masks and classes on a GPU: parity with the CPU, speed, share of time in the networks, memory.

    python bench/gpu.py                                   # ViT-H on the GPU, about ten minutes
    python bench/gpu.py --models vit_b vit_h --weights vit_h=sam_vit_h_4b8939.pth
    python bench/gpu.py --device cpu --small              # a trial without a GPU, about a minute

Needs only PyTorch, torchvision and segment_anything, with NumPy and Pillow. Images are generated.
Without --weights, weights are random (`bench.random_sam`), and the threshold of predicted IoU lets
about 60 masks of the first image pass. Each SAM runs in float32 and in bfloat16, each with and
without a compiled encoder. Its masks and classes are compared with those of the CPU in float32;
with random weights of the classifier, nearly all crops have the same class. Prints a table and, on
a GPU, writes bench/results/gpu.json.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet50
from torchvision.transforms import CenterCrop, Compose, Resize

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from bench import random_sam, rows
from bench.rows import Row
from geoloc.pytorch.weights import load_weights
from geoloc.segmentation import rle
from geoloc.segmentation.classifiers.resnet50 import ResNet50
from geoloc.segmentation.segmenters.sam.generator import SamSegmenter
from geoloc.segmentation.segmenters.sam.models import PUBLISHED, build_sam
from geoloc.types import Segments

SAME_MASK = 0.95  # IoU from which a mask counts as found again
PARITY = 0.98  # share of masks, and of their classes, that float32 has to find again
EFFICIENCY = 0.7  # share of time in the networks, at least


@dataclass(frozen=True)
class Size:
    """How much is measured: `masks` on the first image, with random weights."""

    images: int
    side: int
    points_per_side: int
    masks: int
    repeats: int
    compiled: tuple[bool, ...]


FULL = Size(images=16, side=640, points_per_side=32, masks=60, repeats=3, compiled=(False, True))
SMALL = Size(images=1, side=160, points_per_side=8, masks=6, repeats=1, compiled=(False,))


def main() -> None:
    arguments = parse()
    size = SMALL if arguments.small else FULL
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU; for a trial on the CPU: --device cpu --small")
    end = time.monotonic() + 60 * arguments.minutes
    names = arguments.models or (["demo"] if arguments.small else ["vit_h"])
    found: list[Row] = []
    for name in names:
        found += measure(name, size, device, arguments, end)
    if device.type == "cuda" or arguments.folder:
        rows.save("gpu", found, arguments.folder or rows.FOLDER)
    else:
        print(rows.table(found))


def parse() -> argparse.Namespace:
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:1, cpu")
    parser.add_argument(
        "--small", action="store_true", help="a small image and the demo's SAM, not compiled"
    )
    parser.add_argument(
        "--models", nargs="+", choices=[*PUBLISHED, "demo"], help="SAMs to run (default: vit_h)"
    )
    parser.add_argument(
        "--weights",
        nargs="+",
        default=[],
        metavar="MODEL=FILE",
        type=named_file,
        help="checkpoints of SAMs; others have random weights",
    )
    parser.add_argument("--classifier-weights", type=Path, help="checkpoint of ResNet50")
    parser.add_argument(
        "--minutes", type=float, default=10, help="start no measurement after this time (10)"
    )
    parser.add_argument("--folder", type=Path, help="folder for gpu.json (default: bench/results)")
    return parser.parse_args()


def named_file(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not MODEL=FILE, such as vit_h=sam_vit_h.pth")
    return name, Path(path)


def measure(
    name: str, size: Size, device: torch.device, arguments: argparse.Namespace, end: float
) -> list[Row]:
    """Measure a SAM in each precision; modes that would start after `end` are not measured."""
    torch.manual_seed(0)
    images = [draw(number, size.side) for number in range(size.images)]
    sam = build_sam(name, dict(arguments.weights).get(name)).to(device)
    settings: dict[str, float] = {"points_per_side": size.points_per_side}
    if name not in dict(arguments.weights):
        random_sam.make_masks_local(sam, images[0])
        threshold = random_sam.iou_threshold(sam, images[0], size.masks, size.points_per_side)
        settings |= {"pred_iou_thresh": threshold, "stability_score_thresh": 0.0}
    network = resnet50()
    if arguments.classifier_weights:
        load_weights(network, arguments.classifier_weights, "ResNet50", "give the file of ResNet50")
    cpu = Mode(sam, network, torch.device("cpu"), "float32", False, settings)
    (reference,) = cpu.run(images[:1])
    sam.to(device)
    found = []
    for precision in ("float32", "bfloat16"):
        for compiled in size.compiled:
            case = f"{name}, {device.type}, {precision}{', compiled' if compiled else ''}"
            if time.monotonic() > end:
                found.append(Row(case, "images/s", None))
                continue
            print(f"{case} …", flush=True)
            mode = Mode(sam, network, device, precision, compiled, settings)
            found += parity(case, mode, images[0], reference, precision) + speed(
                case, mode, images, size.repeats
            )
    return found


class Mode:
    """A SAM and a classifier on a device, in a precision."""

    def __init__(
        self, sam, network, device: torch.device, precision: str, compiled: bool, settings: dict
    ) -> None:
        self.device = device
        how = {"precision": precision, "compile": compiled}
        self.segmenter = SamSegmenter(sam, device=str(device), **how, **settings)
        self.classifier = ResNet50(network, device, **how)
        self.classifier_seconds = 0.0

    def run(self, images: Sequence[np.ndarray]) -> list[Segments]:
        """Find and classify the masks of images, in batches as the workflow does."""
        found: list[Segments] = []
        for start in range(0, len(images), self.segmenter.image_batch):
            batch = images[start : start + self.segmenter.image_batch]
            for image, segments in zip(batch, self.segmenter.segment(batch), strict=True):
                crops, kept = cut(image, segments, self.classifier.resize, 224)
                begin = time.perf_counter()
                answers = self.classifier.classify(torch.from_numpy(crops))
                self.classifier_seconds += time.perf_counter() - begin
                segments.class_id[kept], segments.class_probability[kept] = answers
                found.append(segments)
        return found

    def network_seconds(self) -> float:
        return sum(self.segmenter.seconds.values()) + self.classifier_seconds


def parity(
    case: str, mode: Mode, image: np.ndarray, reference: Segments, precision: str
) -> list[Row]:
    """Compare the masks and classes of an image with those of the CPU in float32."""
    (found,) = mode.run([image])
    ious = mask_ious(reference, found)
    best = ious.argmax(1) if len(found) else np.zeros(len(reference), int)
    again = ious.max(1, initial=0) >= SAME_MASK
    same = reference.class_id[again, 0] == found.class_id[best[again], 0]
    least = PARITY if precision == "float32" else None
    return [
        Row(case, "masks of an image, by CPU", len(found), len(reference)),
        judged(case, f"share of the CPU's masks found, IoU {SAME_MASK}", mean(again), least),
        judged(case, "share of them with the same class", mean(same), least),
    ]


def judged(case: str, metric: str, value: float | None, at_least: float | None) -> Row:
    """Return a row with a target if there is one."""
    if at_least is None or value is None:
        return Row(case, metric, value)
    return rows.bounded(case, metric, value, at_least=at_least)


def mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def mask_ious(first: Segments, second: Segments) -> np.ndarray:
    """Return the IoU of each mask of one with each of the other, float64 (m, n).

    Two empty masks have 1.
    """
    a, b = (
        np.array([rle.decode(counts, found.size).ravel() for counts in found.counts], np.float32)
        for found in (first, second)
    )
    if not (len(a) and len(b)):
        return np.zeros((len(a), len(b)))
    shared = (a @ b.T).astype(np.float64)
    union = a.sum(1, dtype=np.float64)[:, None] + b.sum(1, dtype=np.float64) - shared
    return np.divide(shared, union, out=np.ones_like(shared), where=union > 0)


def speed(case: str, mode: Mode, images: Sequence[np.ndarray], repeats: int) -> list[Row]:
    """Measure images/s (median of the repeats), time in the networks and memory.

    Parity has run before, on one image; a full batch compiles and warms up first.
    """
    mode.run(images[: mode.segmenter.image_batch])
    on_gpu = mode.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(mode.device)
    rates, shares, masks = [], [], 0
    for _ in range(repeats):
        before, start = mode.network_seconds(), time.perf_counter()
        masks = sum(map(len, mode.run(images)))
        seconds = time.perf_counter() - start
        rates.append(len(images) / seconds)
        shares.append((mode.network_seconds() - before) / seconds)
    memory = torch.cuda.max_memory_allocated(mode.device) / 2**30 if on_gpu else None
    share = statistics.median(shares)
    return [
        Row(case, "images/s", statistics.median(rates)),
        judged(case, "share of time in the networks", share, EFFICIENCY if on_gpu else None),
        Row(case, "masks an image", masks / len(images)),
        Row(case, "peak GiB on the GPU", memory),
    ]


def cut(
    image: np.ndarray, segments: Segments, resize: int, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a crop for each mask; see `geoloc.segmentation.crops.cut_crops`.

    Without OpenCV, crops show the bounding box of the mask, not that of its largest contour.
    """
    try:
        from geoloc.segmentation.crops import cut_crops
    except ImportError:
        return cut_boxes(image, segments, resize, side)
    return cut_crops(image, segments, resize, side)


def cut_boxes(
    image: np.ndarray, segments: Segments, resize: int, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Do what `cut` says with NumPy and Pillow."""
    shrink = Compose([Resize(resize), CenterCrop(side)])
    crops, kept = [], np.flatnonzero(segments.area > 0)
    for row in kept:
        x, y, width, height = segments.bbox[row]
        window = np.s_[y : y + height, x : x + width]
        mask = rle.decode(segments.counts[row], segments.size)[window]
        longest = max(width, height)
        square = np.zeros((longest, longest, 3), np.uint8)
        top, left = (longest - height) // 2, (longest - width) // 2
        square[top : top + height, left : left + width] = image[window] * mask[..., None]
        crops.append(np.asarray(shrink(Image.fromarray(square))))
    return np.array(crops, np.uint8).reshape(-1, side, side, 3), kept


def draw(number: int, side: int) -> np.ndarray:
    """Draw a picture of boxes and discs in front of a gradient, uint8 (side, side, 3)."""
    rng = np.random.default_rng([7, number])
    y, x = np.mgrid[:side, :side] / side
    picture = np.stack([120 + 90 * y, 140 + 40 * x, 220 - 120 * y], axis=-1)
    for _ in range(40):
        (left, top), (width, height) = rng.random(2), rng.uniform(0.02, 0.25, 2)
        box = (abs(x - left) < width / 2) & (abs(y - top) < height / 2)
        disc = ((x - left) / width) ** 2 + ((y - top) / height) ** 2 < 0.25
        picture[box if rng.random() < 0.5 else disc] = rng.uniform(0, 255, 3)
    noise = rng.normal(0, 6, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
