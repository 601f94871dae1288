"""Train the demo's crop classifier on generated scenes; writes demo/objects.safetensors.

    .venv/bin/python demo/train_objects.py --scratch /tmp/objects

It takes about 12 minutes on two cores, mostly for the crops, which stay in the scratch folder.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "demo")]

import object_data

from geoloc.files import atomic_path
from geoloc.segmentation.classifiers.demo_objects import ObjectHead

log = logging.getLogger("train_objects")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = parse_arguments()
    folder = arguments.scratch / f"seed{arguments.seed}"
    object_data.write_features(folder, arguments.scenes, arguments.seed, arguments.workers)
    features, label, _ = read(folder, arguments.scenes)
    log.info("%d crops of %d scenes, their mirror images included", len(label), arguments.scenes)
    head = train(features, label, arguments)
    with atomic_path(arguments.output) as temporary:
        save_file({name: x.contiguous() for name, x in head.state_dict().items()}, temporary)
    log.info("%s: %d kB", arguments.output, arguments.output.stat().st_size // 1000)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="folder of the crops' features")
    parser.add_argument("--output", type=Path, default=ROOT / "demo" / "objects.safetensors")
    parser.add_argument("--scenes", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64, help="crops a step")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--decay", type=float, default=0.5, help="weight decay")
    parser.add_argument("--dropout", type=float, default=0.5, help="share of features dropped")
    parser.add_argument("--smoothing", type=float, default=0.0, help="label smoothing")
    parser.add_argument("--seed", type=int, default=31, help="of scenes and of the training")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    return parser.parse_args()


def read(folder: Path, scenes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Read features float32 (n, 1280), labels int64 (n,) and origin int64 (n,).

    Origin is 0 for SAM and 1 for true masks.
    """
    parts = []
    for number in range(scenes):
        with np.load(object_data.feature_path(folder, number)) as arrays:
            parts.append([arrays[name] for name in ("features", "label", "true")])
    return tuple(torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))


def train(features: torch.Tensor, label: torch.Tensor, arguments: argparse.Namespace) -> ObjectHead:
    """Train a head on the features: AdamW, half cosine, features standardized during training.

    Its first layer then absorbs the standardization, so that it reads plain features.
    """
    torch.manual_seed(arguments.seed)
    mean, std = features.mean(0), features.std(0) + 1e-3
    head = ObjectHead()
    optimizer = torch.optim.AdamW(head.parameters(), arguments.rate, weight_decay=arguments.decay)
    steps = arguments.epochs * (len(label) // arguments.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(arguments.epochs):
        order = torch.randperm(len(label))
        for rows in order.split(arguments.batch)[: len(label) // arguments.batch]:
            inputs = F.dropout((features[rows] - mean) / std, arguments.dropout)
            loss = F.cross_entropy(head(inputs), label[rows], label_smoothing=arguments.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        head[0].bias -= head[0].weight @ (mean / std)
        head[0].weight /= std
    return head.eval()


if __name__ == "__main__":
    main()
