"""Train a small CLIP from scratch on images and captions with the names of their countries.

The classes are those of transformers, so the same code evaluates the result and StreetCLIP.
Everything it learns, including the vocabulary, comes from the training split.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from torchvision.transforms.v2 import functional as transforms
from transformers import (
    CLIPImageProcessor,
    CLIPProcessor,
    get_cosine_schedule_with_warmup,
)
from transformers.utils.logging import disable_progress_bar

from geoloc.errors import Diverged, FileError, InputError
from geoloc.files import atomic_folder, write_text
from geoloc.image_text.architecture import ClipParameters, build_clip
from geoloc.image_text.checkpoint import ClipState
from geoloc.image_text.folder import load_clip
from geoloc.image_text.tokenizer import train_tokenizer
from geoloc.locks import only_one
from geoloc.model_record import file_digests
from geoloc.progress import Progress
from geoloc.pytorch.device import choose_device
from geoloc.pytorch.finite import finite
from geoloc.stores import config_hash
from geoloc.weighting import UNCHANGED, View

log = logging.getLogger(__name__)
disable_progress_bar()  # for reading and writing weights: all jobs share the terminal

MAX_LOGIT_SCALE = float(np.log(100))  # Radford et al. 2021, section 2.5


class LabeledImages(Protocol):
    """The data that training reads, such as geoloc.stores.Arrays."""

    label: np.ndarray  # (n,) ISO alpha-2
    digest: str  # of all content

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return images uint8 (b, H, W, 3) and score maps uint8 (b, H, W) of the given rows."""


def contrastive_loss(logits: torch.Tensor, country: np.ndarray) -> torch.Tensor:
    """Return the image-text loss in which all captions of an image's country are matches.

    With few countries, most batches contain a country twice, and CLIP's own loss would push such
    pairs apart. Sharing the target among them is the image-text-label loss of UniCL (Yang et al.
    2022). If no country repeats, the two losses are equal.

    Args:
        logits: (b, b), images × captions.
        country: (b,), of both images and captions.
    """
    same = torch.from_numpy(country[:, None] == country[None, :]).to(logits)
    target = same / same.sum(dim=1, keepdim=True)  # symmetric, so it serves both directions
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def random_crops(
    images: np.ndarray, size: int, smallest: float, generator: np.random.Generator
) -> torch.Tensor:
    """Draw a crop, brightness and contrast for each image: float32 (b, 3, size, size), 0–255.

    There is no flip: it would swap the side of traffic, one of the marks that tell countries apart.

    Args:
        images: uint8 (b, H, W, 3).
        size: side of the result in pixels.
        smallest: smallest fraction of the area that a crop may have.
        generator: draws the numbers.
    """
    height, width = images.shape[1:3]
    crops = []
    for image in torch.from_numpy(images).permute(0, 3, 1, 2):
        side = np.sqrt(generator.uniform(smallest, 1))
        h, w = round(side * height), round(side * width)
        top, left = generator.integers(height - h + 1), generator.integers(width - w + 1)
        crop = image[:, top : top + h, left : left + w]
        crops.append(transforms.resize(crop, [size, size], transforms.InterpolationMode.BICUBIC))
    pixels = torch.stack(crops).float()
    brightness, contrast = torch.from_numpy(generator.uniform(0.8, 1.2, (2, len(images), 1, 1, 1)))
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return (mean * brightness + (pixels - mean) * contrast).clamp(0, 255).float()


class ClipTrainer:
    """A training of a CLIP: the model, its optimizer and its random generators.

    `steps` is the number of batches per epoch.
    """

    def __init__(
        self,
        classes: Sequence[str],
        names: Mapping[str, str],
        parameters: ClipParameters,
        view: View,
        seed: int,
        device: torch.device,
        steps: int,
    ) -> None:
        p = self.parameters = parameters
        self.classes, self.names, self.view = np.array(classes), names, view
        self.device = device
        self.generator = np.random.default_rng(seed)
        torch.manual_seed(seed)
        tokenizer = train_tokenizer([self.caption(c, t) for c in classes for t in p.captions])
        size = {"height": p.image_size, "width": p.image_size}
        images = CLIPImageProcessor(size={"shortest_edge": p.image_size}, crop_size=size)
        self.processor = CLIPProcessor(images, tokenizer)
        self.model = build_clip(tokenizer, p).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self._groups(), lr=p.learning_rate, betas=(0.9, 0.98), eps=1e-6
        )
        self.schedule = get_cosine_schedule_with_warmup(
            self.optimizer, int(p.warmup * steps), p.epochs * steps
        )
        self.history: list[dict[str, float]] = []
        self.best_weights: dict[str, torch.Tensor] = {}

    def caption(self, country: str, template: str) -> str:
        return template.format(country=self.names[country])

    def read(self, data: LabeledImages, rows: np.ndarray) -> np.ndarray:
        """Return images uint8 (b, H, W, 3) as the dataset shows them."""
        return self.view(*data.read(rows))

    def logits(self, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Return similarities (b, k) of images (b, 3, S, S), 0–255, with texts."""
        images = self.processor.image_processor
        mean, deviation = (
            torch.tensor(values).view(3, 1, 1) for values in (images.image_mean, images.image_std)
        )
        tokens = self.processor.tokenizer(list(texts), padding=True, return_tensors="pt")
        normalized = (pixels / 255 - mean) / deviation
        inputs = {**tokens, "pixel_values": normalized}
        inputs = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        return self.model(**inputs).logits_per_image

    def train_epoch(self, data: LabeledImages) -> dict[str, float]:
        """Train on all images once, in random order; return mean loss and accuracy."""
        p, generator = self.parameters, self.generator
        self.model.train()
        losses, right = [], []
        order = generator.permutation(len(data))
        for start in range(0, len(order), p.batch_size):
            rows = order[start : start + p.batch_size]
            country = data.label[rows]
            templates = generator.choice(p.captions, size=len(rows))
            crops = random_crops(self.read(data, rows), p.image_size, p.smallest_crop, generator)
            texts = [self.caption(*pair) for pair in zip(country, templates, strict=True)]
            logits = self.logits(crops, texts)
            loss = contrastive_loss(logits, country)
            step = start // p.batch_size + 1
            self._check_finite(loss, f"loss of step {step}")
            self.optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self._check_finite(norm, f"gradient of step {step}")
            self.optimizer.step()
            self.schedule.step()
            self.model.logit_scale.data.clamp_(max=MAX_LOGIT_SCALE)
            losses += [loss.item()] * len(rows)
            right += list(country[logits.argmax(dim=1).cpu().numpy()] == country)
        return {"loss": float(np.mean(losses)), "accuracy": float(np.mean(right))}

    @torch.inference_mode()
    def validate(self, data: LabeledImages) -> dict[str, float]:
        """Return zero-shot cross-entropy in nats and accuracy, with the bare country names."""
        self.model.eval()
        names = [self.names[country] for country in self.classes]
        losses, right = [], []
        for start in range(0, len(data), self.parameters.batch_size):
            rows = np.arange(start, min(start + self.parameters.batch_size, len(data)))
            pixels = self.processor.image_processor(
                list(self.read(data, rows)),
                do_rescale=False,
                do_normalize=False,
                input_data_format="channels_last",
                return_tensors="pt",
            )["pixel_values"]
            logits = self.logits(pixels, names).cpu()
            target = torch.from_numpy(np.searchsorted(self.classes, data.label[rows]))
            losses += torch.nn.functional.cross_entropy(logits, target, reduction="none").tolist()
            right += (logits.argmax(dim=1) == target).tolist()
        return {"val_loss": float(np.mean(losses)), "val_accuracy": float(np.mean(right))}

    def fit(
        self, training: LabeledImages, validation: LabeledImages, state: ClipState
    ) -> pd.DataFrame:
        """Train the epochs missing from `state`, keep the best weights, and return the history."""
        if saved := state.load():
            self._restore(saved)
            log.info("going on after epoch %d, found in %s", len(self.history), state.path)
        todo = range(len(self.history) + 1, self.parameters.epochs + 1)
        epochs = Progress(todo, description="train CLIP", unit="epochs")
        for epoch in epochs:
            row = {"epoch": epoch, **self.train_epoch(training)}
            for name, weights in self.model.state_dict().items():
                self._check_finite(weights, name)
            row |= self.validate(validation)
            self._check_finite(torch.tensor(row["val_loss"]), "validation loss")
            row["learning_rate"] = self.schedule.get_last_lr()[0]
            epochs.note = ", ".join(f"{k} {row[k]:.3f}" for k in ("loss", "val_accuracy"))
            if rank(row) > max(map(rank, self.history), default=(-math.inf,)):
                self.best_weights = deepcopy(self.model.state_dict())
            self.history.append(row)
            state.save(self._remember())
        self.model.load_state_dict(self.best_weights)
        return pd.DataFrame(self.history)

    def _check_finite(self, numbers: torch.Tensor, what: str) -> None:
        """Raise Diverged, with the remedy, if a number of the current epoch is not finite."""
        if finite(numbers):
            return
        raise Diverged(
            f"{what}, epoch {len(self.history) + 1}, is not finite; lower the model's "
            f"learning_rate (below models, now {self.parameters.learning_rate:g}) and run again"
        )

    def _remember(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": json.dumps(self.generator.bit_generator.state),
            "history": self.history,
            "best_weights": self.best_weights,
        }

    def _restore(self, saved: dict) -> None:
        for name in ("model", "optimizer", "schedule"):
            getattr(self, name).load_state_dict(saved[name])
        self.generator.bit_generator.state = json.loads(saved["generator"])
        self.history, self.best_weights = saved["history"], saved["best_weights"]

    def _groups(self) -> list[dict]:
        """Apply weight decay to matrices only, as in CLIP's training."""
        matrices = [w for w in self.model.parameters() if w.ndim >= 2]
        others = [w for w in self.model.parameters() if w.ndim < 2]
        decay = self.parameters.weight_decay
        return [
            {"params": matrices, "weight_decay": decay},
            {"params": others, "weight_decay": 0.0},
        ]


def rank(row: Mapping[str, float]) -> tuple[float, float]:
    """Return the sort key of an epoch in the history: accuracy first, then loss."""
    return row["val_accuracy"], -row["val_loss"]


def train_clip(
    folder: str | Path,
    training: LabeledImages,
    validation: LabeledImages,
    names: Mapping[str, str],
    parameters: ClipParameters | None = None,
    dataset: str = "original",
    view: View = UNCHANGED,
    seed: int = 42,
    device: str | None = None,
    entry: str | None = None,
) -> pd.DataFrame:
    """Train a CLIP and write it to a folder.

    The folder gets config, safetensors, tokenizer, processor, history, and classes.json with the
    countries and the settings. It keeps the weights of the epoch with the best validation accuracy;
    ties go to the lower loss. On a CPU, the same seed and number of threads give the same result.

    The folder appears, complete, at the end. A killed job resumes after its last finished epoch if
    called again with the same arguments and images, and ends with the same model as an
    uninterrupted one. Its checkpoint is the file `.{name}.state` next to `folder`.

    Args:
        folder: the folder to write.
        training: training images.
        validation: validation images.
        names: display name of each country (ISO alpha-2) of the training images, for the captions.
        parameters: size and training settings; defaults if None.
        dataset: name of the dataset to train and validate on.
        view: how it shows images.
        seed: seed of all random numbers.
        device: name of a torch device; None takes the GPU if one is available.
        entry: name of the model's entry in the configuration, for the record.

    Returns:
        The history, one row per epoch: epoch (from 1), loss, accuracy (fraction of training images
        whose best caption of the batch is of their country), val_loss (nats), val_accuracy
        (zero-shot with the bare names, on images of the training size), learning_rate.

    Raises:
        InputError: if a split is empty, a country has no name, or a validation country has no
            training images.
        Diverged: at the first loss, gradient or weight that is not finite; then neither the folder
            nor a state remains.
        BlockingIOError: if another process is training in the folder.
    """
    classes = _classes(training, validation, names)
    parameters = parameters or ClipParameters()
    record = {
        "classes": classes,
        "dataset": dataset,
        "seed": seed,
        "parameters": asdict(parameters),
        "view": view.settings(),
    }
    folder = Path(folder)
    steps = math.ceil(len(training) / parameters.batch_size)
    fingerprint = config_hash([record, dict(names), training.digest, validation.digest])
    state = ClipState(folder.with_name(f".{folder.name}.state"), fingerprint)
    with only_one(folder.with_name(f".{folder.name}.lock"), f"training in {folder}"):
        trainer = ClipTrainer(classes, names, parameters, view, seed, choose_device(device), steps)
        try:
            history = trainer.fit(training, validation, state)
        except Diverged as error:
            state.delete()
            raise Diverged(f"{folder}: {error}") from error
        named = record | ({"entry": entry} if entry else {})
        _save(trainer, history, named, folder)
        state.delete()
    return history


def _classes(
    training: LabeledImages, validation: LabeledImages, names: Mapping[str, str]
) -> list[str]:
    """Return the sorted countries of the training images, once both splits can be trained on."""
    classes = sorted({str(country) for country in training.label})
    if not len(training) or not len(validation):
        raise InputError("CLIP needs training and validation images; lower min_images or add some")
    if unnamed := sorted(set(classes) - set(names)):
        raise InputError(f"no display name for {', '.join(unnamed)}; captions need one each")
    if unknown := sorted(set(validation.label) - set(classes)):
        raise InputError(f"validation images of {', '.join(unknown)}, but none to train on")
    return classes


def _save(trainer: ClipTrainer, history: pd.DataFrame, record: Mapping, folder: Path) -> None:
    """Write the results of `train_clip`, and load them once as their users will."""
    with atomic_folder(folder) as temporary:
        try:
            trainer.model.save_pretrained(temporary)
            trainer.processor.save_pretrained(temporary)
        except SafetensorError as error:  # also if the disk is full
            raise FileError(f"{folder}: the weights cannot be written ({error})") from error
        record = {**record, "files": file_digests(temporary)}
        write_text(temporary / "classes.json", json.dumps(record, indent=2) + "\n")
        history.to_csv(temporary / "history.csv", index=False)
        load_clip(temporary)
