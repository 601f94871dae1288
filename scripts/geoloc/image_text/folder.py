"""A CLIP in the folder that transformers saves: complete, of one piece, and without any network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel, CLIPProcessor
from transformers.initialization import no_init_weights

from geoloc.errors import FileError
from geoloc.pytorch.weights import load_tensors, read_tensors

REMEDY = "retrieve or train it again"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

# Of each group one has to be there, with all of its files; transformers makes up what is missing.
NEEDED = (
    (("config.json",),),
    ((WEIGHTS,), (INDEX,)),
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
    _check_files(folder)
    network = _load_network(folder)
    try:
        processor = CLIPProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except PermissionError:
        raise
    except Exception as error:  # the libraries raise whatever a damaged file leads them to
        raise _unusable(folder, "its tokenizer or image processor cannot be read", error) from error
    _check_fit(folder, network.config, processor)
    return network.eval(), processor


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise FileError(f"{folder}: no such folder of a CLIP; {REMEDY}")
    missing = [
        " or ".join(" and ".join(files) for files in choices)
        for choices in NEEDED
        if not any(all((folder / name).is_file() for name in files) for files in choices)
    ]
    if not missing:
        return
    pickled = [path.name for path in sorted(folder.glob("*.bin")) if WEIGHTS in " ".join(missing)]
    note = f" ({pickled[0]} is a pickle, which is not loaded)" if pickled else ""
    raise FileError(f"{folder}: no complete CLIP, {', '.join(missing)} missing{note}; {REMEDY}")


def _load_network(folder: Path) -> CLIPModel:
    path = folder / "config.json"
    kind = _read_json(path).get("model_type")
    if kind != "clip":
        raise FileError(
            f"{path}: of a model of type {kind!r}, not 'clip'; give the folder of a CLIP"
        )
    try:
        with no_init_weights():  # all of them are loaded
            network = CLIPModel(CLIPConfig.from_pretrained(folder, local_files_only=True))
    except Exception as error:  # any value can be of another type, or not go with the others
        raise _unusable(folder, "config.json describes no CLIP", error) from error
    source = folder / (WEIGHTS if (folder / WEIGHTS).is_file() else INDEX)
    return load_tensors(
        network.float(), _read_weights(source), source, "the CLIP of its config.json", REMEDY
    )


def _read_weights(source: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, or of the files that an index lists."""
    if source.name == WEIGHTS:
        return read_tensors(source, REMEDY)
    names = _read_json(source).get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
        for name in names.values()
    ):
        raise FileError(f"{source}: no list of safetensors files next to it; {REMEDY}")
    parts = [read_tensors(source.with_name(name), REMEDY) for name in sorted(set(names.values()))]
    return {key: tensor for part in parts for key, tensor in part.items()}


def _read_json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileError(f"{path}: not JSON ({error}); {REMEDY}") from error
    return found if isinstance(found, dict) else {}


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
        pixels = processor.image_processor(
            [np.zeros((40, 60, 3), np.uint8)],
            input_data_format="channels_last",
            return_tensors="pt",
        )["pixel_values"]
    except Exception as error:  # any value can be of another type, or not go with the others
        raise _unusable(folder, "its image processor does not work", error) from error
    if pixels.shape[1:] != (3, side, side) or not pixels.isfinite().all():
        raise FileError(
            f"{folder}: its image processor makes {tuple(pixels.shape[1:])} of an image, its model "
            f"sees (3, {side}, {side}), finite: the processor is of another model; {REMEDY}"
        )


def _unusable(folder: Path, what: str, error: Exception) -> OSError:
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return OSError(f"{folder}: {what} ({reason}); {REMEDY}")
