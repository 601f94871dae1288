"""Train the demo's SAM on generated street scenes; writes demo/sam.safetensors.

    .venv/bin/python demo/train_sam.py --scratch /tmp/sam

It takes more than an hour on two cores; the shipped weights took a second run (demo/README.md). Run
it again with the same arguments to resume.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import sam_data
import sam_losses
import sam_start
from muon import Muon

from geoloc.files import atomic_path
from geoloc.segmentation.segmenters.sam.models import build_sam

log = logging.getLogger("train_sam")


def main() -> None:
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    scenes = arguments.scratch / "scenes"
    sam_data.write_scenes(scenes, arguments.scenes, arguments.seed, arguments.workers)
    multiprocessing.spawn(train, (arguments,), nprocs=arguments.workers)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="scenes and checkpoints")
    parser.add_argument("--output", type=Path, default=ROOT / "demo" / "sam.safetensors")
    parser.add_argument("--initial", type=Path, help="weights to go on from, last phase only")
    parser.add_argument("--scenes", type=int, default=2400)
    parser.add_argument("--dense-steps", type=int, default=700, help="encoder alone")
    parser.add_argument("--one-way-steps", type=int, default=700, help="masks, cheaply")
    parser.add_argument("--two-way-steps", type=int, default=1700, help="masks by all of SAM")
    parser.add_argument("--scenes-a-step", type=int, default=2, help="of each worker")
    parser.add_argument("--one-way-prompts", type=int, default=28, help="of each scene")
    parser.add_argument("--prompts", type=int, default=16, help="of each scene, two-way")
    parser.add_argument("--sharpness", type=float, default=30.0, help="factor of logits in files")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--workers", type=int, default=2, help="processes, each with own scenes")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    arguments = parser.parse_args()
    if arguments.initial:
        if not arguments.initial.is_file():
            parser.error(f"--initial: no file {arguments.initial}")
        arguments.dense_steps = arguments.one_way_steps = 0
    return arguments


class Trainer:
    """The model, its optimizer and the running average of its weights, which is shipped."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        torch.manual_seed(arguments.seed)
        self.sam = build_sam("demo", arguments.initial).train()
        if arguments.initial:
            self.sam.load_state_dict(sharpened(self.sam.state_dict(), 1 / arguments.sharpness))
        else:
            sam_start.start_at_point(self.sam)
        for block in self.sam.image_encoder.blocks:
            block.attn.forward = partial(sam_losses.fused_attention, block.attn)
        self.model = torch.nn.ModuleDict({"sam": self.sam})
        if not arguments.initial:
            self.model["dense"] = sam_losses.DenseHead(self.sam.prompt_encoder.embed_dim)
        self.optimizers = make_optimizers(self.model, arguments.rate)
        self.average = {key: value.clone() for key, value in self.sam.state_dict().items()}
        self.arguments, self.step = arguments, 0
        self.steps = sum((arguments.dense_steps, arguments.one_way_steps, arguments.two_way_steps))
        self.path = arguments.scratch / "checkpoint.pt"

    def resume(self) -> None:
        """Resume from the checkpoint, if there is one."""
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.model.load_state_dict(saved["model"])
            for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.average, self.step = saved["average"], saved["step"]

    def save(self) -> None:
        """Write the checkpoint, and the weights in the form that is shipped."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average,
            "step": self.step,
        }
        with atomic_path(self.path) as temporary:
            torch.save(state, temporary)
        with atomic_path(self.arguments.output) as temporary:
            save_file(sharpened(self.average, self.arguments.sharpness), temporary)

    def losses(
        self, pool: list[sam_data.TrainingScene], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Return the losses of this process's part of a step."""
        numbers = rng.integers(len(pool), size=self.arguments.scenes_a_step)
        scenes = [pool[number] for number in numbers]
        scenes = [sam_data.flip(scene) if rng.random() < 0.5 else scene for scene in scenes]
        if self.step < self.arguments.dense_steps:
            return sam_losses.dense_losses(self.model, scenes, rng)
        joint = self.step - self.arguments.dense_steps
        one_way = joint < self.arguments.one_way_steps
        return sam_losses.joint_losses(
            self.model,
            scenes,
            self.arguments.one_way_prompts if one_way else self.arguments.prompts,
            balance=self.balance(joint),
            rng=rng,
            predict=sam_losses.predict_one_way if one_way else sam_losses.predict,
        )

    def balance(self, joint: int) -> float:
        """Return 1 at the start of the phases with masks, falling to 0 after 80 % of their steps.

        It is 0 for weights that have already been through that.
        """
        if self.arguments.initial:
            return 0.0
        return max(1 - joint / (0.8 * (self.steps - self.arguments.dense_steps)), 0)

    def update(self, losses: dict[str, torch.Tensor]) -> None:
        """Take one step, in all processes together."""
        self.model.zero_grad()
        sum(losses.values()).backward()
        average_gradients(self.model, self.arguments.workers)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.arguments.rate * schedule(self.step, self.steps)
            optimizer.step()
        keep = min(0.998, self.step / (self.step + 20))
        for key, value in self.sam.state_dict().items():
            self.average[key].lerp_(value, 1 - keep)
        self.step += 1


def make_optimizers(model: torch.nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Return Muon, which needs fewer steps, for transformers' matrices, and AdamW for the rest."""
    names = re.compile(r"sam\.(image_encoder\.blocks|mask_decoder\.transformer)\..*\.weight")
    matrices = {n for n, p in model.named_parameters() if p.ndim == 2 and names.fullmatch(n)}
    own, others = (
        [p for n, p in model.named_parameters() if (n in matrices) == wanted]
        for wanted in (True, False)
    )
    return [
        Muon(own, lr=rate),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def sharpened(state: dict[str, torch.Tensor], sharpness: float) -> dict[str, torch.Tensor]:
    """Return weights whose logits are `sharpness` times as large.

    Masks don't change, because they end where logits are 0. The stability score measures how far a
    mask moves when the threshold moves by 1.0, for all models alike, and so mistakes the soft
    logits of a short training for instability.
    """
    last = re.compile(r"mask_decoder\.output_hypernetworks_mlps\.\d\.layers\.2\.")
    return {
        key: value * sharpness if last.match(key) else value.contiguous()
        for key, value in state.items()
    }


def train(rank: int, arguments: argparse.Namespace) -> None:
    """Run one of the processes that share a step."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    meeting = arguments.scratch / f"meeting-{os.getppid()}"
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=arguments.workers
    )
    trainer = Trainer(arguments)
    trainer.resume()
    folder = arguments.scratch / "scenes"
    numbers = range(rank, arguments.scenes, arguments.workers)
    pool = [sam_data.read_scene(sam_data.scene_path(folder, number)) for number in numbers]
    means, first, start = {}, trainer.step, time.monotonic()
    while trainer.step < trainer.steps:
        rng = np.random.default_rng([arguments.seed, rank, trainer.step])
        losses = trainer.losses(pool, rng)
        trainer.update(losses)
        for name, loss in losses.items():
            means[name] = 0.98 * means.get(name, loss.item()) + 0.02 * loss.item()
        if rank == 0 and trainer.step % 50 == 0:
            report(trainer, means, (time.monotonic() - start) / (trainer.step - first))
        if rank == 0 and (trainer.step % arguments.every == 0 or trainer.step == trainer.steps):
            trainer.save()
    distributed.destroy_process_group()


def report(trainer: Trainer, means: dict[str, float], seconds: float) -> None:
    left = (trainer.steps - trainer.step) * seconds / 60
    values = " ".join(f"{name} {value:.3f}" for name, value in means.items())
    log.info(
        "step %d/%d, %.2f s a step, about %.0f min left: %s",
        trainer.step,
        trainer.steps,
        seconds,
        left,
        values,
    )


def schedule(step: int, steps: int) -> float:
    """Return the factor of the learning rate: 200 warm-up steps, then a half cosine to 2 %."""
    warm = min((step + 1) / 200, 1.0)
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def average_gradients(model: torch.nn.Module, workers: int) -> None:
    """Give all processes the mean gradients; parameters without any are skipped."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient) / workers)


if __name__ == "__main__":
    main()
