"""Semantic segmentation networks of transformers, loaded from a local folder.

Mask2Former (Cheng et al. 2022), OneFormer (Jain et al. 2023) and SegFormer (Xie et al. 2021). The
class in the folder's config.json decides which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTokenizer, PreTrainedModel

from geoloc.errors import FileError, InputError
from geoloc.pytorch.model_folder import (
    CONFIG,
    NEEDED,
    check_files,
    load_network,
    read_json,
    unusable,
)
from geoloc.registry import Registry
from geoloc.segmentation.vocabularies import TITLES, vocabulary

REMEDY = "give the folder of a Mask2Former, OneFormer or SegFormer, or retrieve it again"
FILES = (*NEEDED, (("preprocessor_config.json",), ("processor_config.json",)))
TOKENIZER = ((("tokenizer.json",), ("vocab.json", "merges.txt")), (("tokenizer_config.json",),))
TASK = "the task is semantic"

ARCHITECTURES = Registry(
    "architecture of a semantic network",
    {
        name: f"transformers:{name}"
        for name in (
            "Mask2FormerForUniversalSegmentation",
            "OneFormerForUniversalSegmentation",
            "SegformerForSemanticSegmentation",
        )
    },
)
"""Classes of transformers, by their names in config.json."""

# A Swin backbone has a last normalization whose output is unused; the public folders don't contain
# it. They do contain indices that the network computes itself. The loss, and the text mapper of
# OneFormer, are only for training.
UNUSED = ("*.swin.layernorm.*", "*.relative_position_index", "criterion.*", "text_mapper.*")


@dataclass
class SemanticNetwork:
    """A network and its inputs.

    Attributes:
        mean: float32 (3,), of RGB in 0–1.
        std: float32 (3,), of RGB in 0–1.
        inputs: inputs of the network other than pixels, for one image.
    """

    network: PreTrainedModel
    vocabulary: str
    mean: np.ndarray
    std: np.ndarray
    inputs: dict[str, Tensor] = field(default_factory=dict)


def load_semantic(folder: str | Path, vocabulary_name: str) -> SemanticNetwork:
    """Load a network in float32 on the CPU.

    Args:
        folder: what transformers saved.
        vocabulary_name: the vocabulary that the network must have, see `vocabulary`.

    Raises:
        OSError: if a file of the folder is missing or damaged, the architecture is another one, or
            the weights are not exactly the network's; see `load_network`.
        InputError: if the network's labels differ from the vocabulary, or it is unknown.
    """
    folder, names = Path(folder), vocabulary(vocabulary_name)
    check_files(folder, FILES, "semantic network", REMEDY)
    config = read_json(folder / CONFIG, REMEDY)
    architecture = architecture_of(folder, config)
    check_labels(folder, config.get("id2label"), names, vocabulary_name)
    one_former = architecture.__name__.startswith("OneFormer")
    changes = {"is_training": False} if one_former else {}
    network = load_network(architecture, folder, REMEDY, unused=UNUSED, **changes)
    mean, std = read_normalization(folder)
    inputs = {"task_inputs": read_task(folder, network.config.task_seq_len)} if one_former else {}
    return SemanticNetwork(network, vocabulary_name, mean, std, inputs)


def architecture_of(folder: Path, config: dict) -> type[PreTrainedModel]:
    """Return the class named by config.json.

    Raises:
        FileError: if it is not in ARCHITECTURES.
    """
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    if name not in ARCHITECTURES:
        raise FileError(
            f"{folder / CONFIG}: of the architecture {name!r}, not one of "
            f"{', '.join(ARCHITECTURES)}; {REMEDY}"
        )
    return ARCHITECTURES[name]


def check_labels(folder: Path, id2label: Any, names: tuple[str, ...], vocabulary_name: str) -> None:
    """Raise InputError, naming the first difference, if the labels are not the vocabulary's.

    Case is ignored, because it differs between folders.
    """
    found = id2label if isinstance(id2label, dict) else {}
    labels = {str(index): str(label) for index, label in found.items()}
    expected = {str(index): name for index, name in enumerate(names)}
    for index in sorted(expected.keys() | labels.keys(), key=lambda key: (len(key), key)):
        ours, theirs = expected.get(index), labels.get(index)
        if ours is None or theirs is None or ours.casefold() != theirs.casefold():
            ours, theirs = (repr(x) if x is not None else "nothing" for x in (ours, theirs))
            raise InputError(
                f"{folder}: label {index} of the network is {theirs}, of the vocabulary "
                f"{vocabulary_name} {ours}; {_vocabulary_remedy(labels)}"
            )


def _vocabulary_remedy(labels: dict[str, str]) -> str:
    """Return what to write for a network with these labels by index."""
    given = {index: label.casefold() for index, label in labels.items()}
    for name in TITLES:
        if given == {str(index): label.casefold() for index, label in enumerate(vocabulary(name))}:
            return f"set vocabulary to {name}"
    return f"no vocabulary ({', '.join(TITLES)}) has its labels, use another network"


def read_normalization(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the mean and standard deviation of a folder's image processor, float32 (3,) each.

    Raises:
        FileError: if they are not three finite numbers each, a mean is outside 0–1, a deviation is
            not positive, or the processor does not scale pixels to 0–1 and normalize them.
    """
    name = "preprocessor_config.json"
    if not (folder / name).is_file():
        name = "processor_config.json"
    config = read_json(folder / name, REMEDY)
    config = config.get("image_processor", config)
    try:
        mean, std = (np.array(config[key], np.float32) for key in ("image_mean", "image_std"))
        usable = (
            mean.shape == std.shape == (3,) and np.isfinite([mean, std]).all() and std.min() > 0
        )
        scaled = (
            config.get("do_rescale", True)
            and config.get("do_normalize", True)
            and abs(255 * config.get("rescale_factor", 1 / 255) - 1) < 0.01
            and bool((mean >= 0).all() and (mean <= 1).all())
        )
    except (KeyError, TypeError, ValueError):
        usable = False
    if not usable:
        raise FileError(
            f"{folder / name}: image_mean and image_std must be three numbers each; {REMEDY}"
        )
    if not scaled:
        raise FileError(
            f"{folder / name}: pixels are not scaled to 0–1 (rescale_factor 1/255) and normalized "
            f"(image_mean in 0–1), as these networks need it; {REMEDY}"
        )
    return mean, std


def read_task(folder: Path, length: int) -> Tensor:
    """Return the tokens of OneFormer's task, int64 (1, length), padded with 0."""
    check_files(folder, TOKENIZER, "OneFormer", REMEDY)
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        tokens = tokenizer(
            [TASK], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
    except PermissionError:
        raise
    except Exception as error:  # a damaged file can make the library raise anything
        raise unusable(folder, "its tokenizer cannot be read", error, REMEDY) from error
    return tokens["input_ids"] * tokens["attention_mask"]


def label_probabilities(output: Any, row: int, size: tuple[int, int]) -> Tensor:
    """Return the probability of each label at each pixel of an image.

    For SegFormer it is the softmax of the upsampled logits. Mask2Former and OneFormer return masks
    with labels: a pixel's probabilities are the sums over masks of mask times label (Cheng et al.
    2021, "Per-Pixel Classification is Not All You Need", section 3.4), divided by their sum over
    all labels if that exceeds 1. The rest up to 1 is the probability of no object.

    Args:
        output: what the network returned for a batch.
        row: index of the image in the batch.
        size: height and width of the image, to which logits are upsampled.

    Returns:
        float32 (labels, H, W) in 0–1.
    """
    if "logits" in output:
        return enlarged(output.logits[row], size).softmax(0)
    masks = enlarged(output.masks_queries_logits[row], size).sigmoid()
    labels = output.class_queries_logits[row].float().softmax(-1)[:, :-1]  # the last: no object
    sums = torch.einsum("qc,qhw->chw", labels, masks)
    return sums / sums.sum(0).clamp(min=1)


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample (k, h, w) to float32 (k, H, W), bilinear."""
    return F.interpolate(logits[None].float(), size, mode="bilinear", align_corners=False)[0]
