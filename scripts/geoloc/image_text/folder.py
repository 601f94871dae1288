"""A CLIP in the folder that transformers saves: complete, of one piece, and without any network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, CLIPProcessor
from transformers.initialization import no_init_weights

from geoloc.errors import FileError
from geoloc.images import middle
from geoloc.pytorch import model_folder
from geoloc.pytorch.model_folder import check_files, read_json, unusable, weight_files, weights_path
from geoloc.pytorch.weights import load_tensors, read_tensors

REMEDY = "retrieve or train it again"
NEEDED = (
    *model_folder.NEEDED,
    (("tokenizer_config.json",),),
    (("tokenizer.json",), ("vocab.json", "merges.txt")),
    (("preprocessor_config.json",), ("processor_config.json",)),
)


def load_clip(folder: str | Path) -> tuple[CLIPModel, CLIPProcessor]:
    """Load a CLIP in evaluation mode, float32, on the CPU, and its processor.

    Only safetensors are read, no code of the folder is run, and nothing is fetched.

    Raises:
        OSError: for a folder that lacks a file, holds a damaged one, or whose weights, tokenizer
            and image processor are not exactly those of the CLIP of its config.json.
    """
    folder = Path(folder)
    check_files(folder, NEEDED, "CLIP", REMEDY)
    network = _load_network(folder)
    try:
        processor = CLIPProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except PermissionError:
        raise
    except Exception as error:  # the libraries raise whatever a damaged file leads them to
        raise unusable(
            folder, "its tokenizer or image processor cannot be read", error, REMEDY
        ) from error
    _check_fit(folder, network.config, processor)
    return network.eval(), processor


def pixel_values(processor: CLIPProcessor, images: Sequence[np.ndarray]) -> torch.Tensor:
    """What a CLIP sees of n images, uint8 (H, W, 3) RGB of any sizes: float32 (n, 3, side, side).

    Resizing and cropping are the processor's own. Where it resizes the short side and crops to the
    centre, the ends of very long images are cut off before, see `geoloc.images.middle`.
    """
    if getattr(processor.image_processor, "do_center_crop", False):
        images = [middle(image) for image in images]
    return processor.image_processor(
        list(images), input_data_format="channels_last", return_tensors="pt"
    )["pixel_values"]


def _load_network(folder: Path) -> CLIPModel:
    path = folder / "config.json"
    kind = read_json(path, REMEDY).get("model_type")
    if kind != "clip":
        raise FileError(
            f"{path}: of a model of type {kind!r}, not 'clip'; give the folder of a CLIP"
        )
    try:
        with no_init_weights():  # all of them are loaded
            network = CLIPModel(CLIPConfig.from_pretrained(folder, local_files_only=True))
    except Exception as error:  # any value can be of another type, or not go with the others
        raise unusable(folder, "config.json describes no CLIP", error, REMEDY) from error
    files = weight_files(folder, REMEDY)
    tensors = {name: x for file in files for name, x in read_tensors(file, REMEDY).items()}
    source, title = weights_path(folder), "the CLIP of its config.json"
    return load_tensors(network.float(), tensors, source, title, REMEDY)


def _check_fit(folder: Path, config: CLIPConfig, processor: CLIPProcessor) -> None:
    """The tokenizer numbers the embeddings of the model, and images become as large as it sees."""
    tokens, embeddings = len(processor.tokenizer), config.text_config.vocab_size
    if tokens != embeddings:
        raise FileError(
            f"{folder}: its tokenizer has {tokens} tokens, its weights have {embeddings}: the "
            f"tokenizer is damaged or of another model; {REMEDY}"
        )
    side = config.vision_config.image_size
    try:
        pixels = pixel_values(processor, [np.zeros((40, 60, 3), np.uint8)])
    except Exception as error:  # any value can be of another type, or not go with the others
        raise unusable(folder, "its image processor does not work", error, REMEDY) from error
    if pixels.shape[1:] != (3, side, side) or not pixels.isfinite().all():
        raise FileError(
            f"{folder}: its image processor makes {tuple(pixels.shape[1:])} of an image, its model "
            f"sees (3, {side}, {side}), finite: the processor is of another model; {REMEDY}"
        )
