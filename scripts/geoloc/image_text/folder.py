"""Load a CLIP from a folder of transformers, checked for completeness, without internet access."""

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
LARGEST_PIXEL = 10  # of normalized pixels; those of CLIP are at most 2.3
NEEDED = (
    *model_folder.NEEDED,
    (("tokenizer_config.json",),),
    (("tokenizer.json",), ("vocab.json", "merges.txt")),
    (("preprocessor_config.json",), ("processor_config.json",)),
)


def load_clip(folder: str | Path) -> tuple[CLIPModel, CLIPProcessor]:
    """Load a CLIP and its processor; the CLIP is in evaluation mode, float32, on the CPU.

    Only safetensors are read, no code in the folder runs, and nothing is downloaded.

    Raises:
        OSError: if a file of the folder is missing or damaged, or its weights, tokenizer and image
            processor are not exactly those of the CLIP in its config.json.
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
    except Exception as error:  # a damaged file can make the libraries raise anything
        raise unusable(
            folder, "its tokenizer or image processor cannot be read", error, REMEDY
        ) from error
    _check_fit(folder, network.config, processor)
    return network.eval(), processor


def pixel_values(processor: CLIPProcessor, images: Sequence[np.ndarray]) -> torch.Tensor:
    """Preprocess n images, uint8 (H, W, 3) RGB of any sizes, to float32 (n, 3, side, side).

    The processor resizes and crops. If it resizes the shorter side and crops the center, the ends
    of very long images are cut off first, see `geoloc.images.middle`.
    """
    if getattr(processor.image_processor, "do_center_crop", False):
        images = [middle(image) for image in images]
    return processor.image_processor(
        list(images), input_data_format="channels_last", return_tensors="pt"
    )["pixel_values"]


def seen_pixels(processor: CLIPProcessor, images: Sequence[np.ndarray]) -> np.ndarray:
    """Resize and crop n images, uint8 (H, W, 3) RGB, as `pixel_values` does: uint8
    (n, side, side, 3)."""
    found = processor.image_processor(
        list(images),
        do_rescale=False,
        do_normalize=False,
        input_data_format="channels_last",
        return_tensors="pt",
    )["pixel_values"]
    return found.permute(0, 2, 3, 1).to(torch.uint8).numpy()


def normalized_pixels(processor: CLIPProcessor, images: np.ndarray) -> torch.Tensor:
    """Scale and normalize what `seen_pixels` returned: float32 (n, 3, side, side), equal to
    `pixel_values` of the same images."""
    return processor.image_processor(
        list(images),
        do_resize=False,
        do_center_crop=False,
        input_data_format="channels_last",
        return_tensors="pt",
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
    except Exception as error:  # values may have wrong types or contradict each other
        raise unusable(folder, "config.json describes no CLIP", error, REMEDY) from error
    files = weight_files(folder, REMEDY)
    tensors = {name: x for file in files for name, x in read_tensors(file, REMEDY).items()}
    source, title = weights_path(folder), "the CLIP of its config.json"
    return load_tensors(network.float(), tensors, source, title, REMEDY)


def _check_fit(folder: Path, config: CLIPConfig, processor: CLIPProcessor) -> None:
    """Check that tokenizer and embeddings match, and that images get the model's input size."""
    tokens, embeddings = len(processor.tokenizer), config.text_config.vocab_size
    if tokens != embeddings:
        raise FileError(
            f"{folder}: its tokenizer has {tokens} tokens, its weights have {embeddings}: the "
            f"tokenizer is damaged or of another model; {REMEDY}"
        )
    side = config.vision_config.image_size
    try:
        pixels = pixel_values(processor, [np.full((40, 60, 3), 255, np.uint8)])
    except Exception as error:  # values may have wrong types or contradict each other
        raise unusable(folder, "its image processor does not work", error, REMEDY) from error
    if pixels.shape[1:] != (3, side, side) or not pixels.isfinite().all():
        raise FileError(
            f"{folder}: its image processor makes {tuple(pixels.shape[1:])} of an image, its model "
            f"sees (3, {side}, {side}), finite: the processor is of another model; {REMEDY}"
        )
    if (largest := float(pixels.abs().max())) > LARGEST_PIXEL:
        raise FileError(
            f"{folder}: its image processor turns white into {largest:.0f}, so it does not scale "
            f"pixels to 0–1 before it normalizes them: it is of another model; {REMEDY}"
        )
