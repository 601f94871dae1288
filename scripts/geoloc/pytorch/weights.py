"""Weights of torch models: read without running code, and loaded completely or not at all."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from geoloc.errors import FileError, MissingFile
from geoloc.pytorch.finite import finite
from geoloc.tensors import check_tensors

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
COUNTER = "num_batches_tracked"  # of batch normalization; missing in older files, never read


def read_tensors(path: str | Path, remedy: str) -> dict[str, Tensor]:
    """Read named tensors from a safetensors file, or from any other file with `torch.load`.

    PyTorch files are read with `weights_only`, so they can't run code.

    Args:
        path: the file; safetensors is recognized by the suffix.
        remedy: what to do about an unusable file, for the message.

    Raises:
        OSError: if the file is missing or damaged, or holds anything but named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"{path}: no such file of weights; {remedy}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # a damaged file can make the libraries raise anything
        raise FileError(
            f"{path}: damaged, or not a file of weights ({_why(error)}); {remedy}"
        ) from error
    if not isinstance(state, Mapping):
        raise FileError(f"{path}: holds {type(state).__name__}, not tensors by name; {remedy}")
    others = [key for key, x in state.items() if not (isinstance(key, str) and torch.is_tensor(x))]
    if others:
        names = ", ".join(map(repr, others[:3]))
        raise FileError(
            f"{path}: holds more than tensors by name ({names}), like a checkpoint of a training: "
            f"save the model's state_dict alone, or {remedy}"
        )
    return dict(state)


def _why(error: Exception) -> str:
    # torch's own message suggests trusting the file and running its code
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
        return "its pickle holds more than tensors, or is cut off"
    return (str(error).splitlines() or [type(error).__name__])[0]


def load_weights(model: nn.Module, path: str | Path, architecture: str, remedy: str) -> nn.Module:
    """Load a model's weights from a file; see `read_tensors` and `load_tensors`."""
    return load_tensors(model, read_tensors(path, remedy), path, architecture, remedy)


def load_tensors(
    model: nn.Module,
    found: Mapping[str, Tensor],
    path: str | Path,
    architecture: str,
    remedy: str,
) -> nn.Module:
    """Load every parameter and buffer of a model, and return the model.

    Other precisions are converted to the model's. Buffers that the model computes itself
    (`position_ids` of CLIP) may be among the tensors, as older versions saved them; they are
    ignored. Batch counters, which only training reads, may be missing.

    Args:
        model: on the CPU.
        found: the tensors by name.
        path: where they come from, for the message.
        architecture: what the model is, for the message.
        remedy: what to do about wrong weights, for the message.

    Raises:
        OSError: names the tensors that are missing, unexpected, of another shape or type, or not
            finite.
    """
    expected = model.state_dict()
    own = dict(model.named_buffers())
    computed = {
        n for n, x in own.items() if n not in expected and found.get(n, x).numel() == x.numel()
    }
    counters = {n for n in expected if n.rpartition(".")[2] == COUNTER and n not in found}
    needed = {name: x for name, x in expected.items() if name not in counters}
    found = {name: x for name, x in found.items() if name not in computed}
    if hint := _prefix_hint(needed, found):
        remedy = f"{hint}, or {remedy}"
    shapes = {name: tuple(x.shape) for name, x in needed.items()}
    check_tensors(path, architecture, shapes, found, remedy, finite=lambda _: True)
    if others := [n for n, x in found.items() if not _convertible(x, needed[n])]:
        kinds = ", ".join(f"{n} {found[n].dtype} for {needed[n].dtype}" for n in sorted(others)[:3])
        raise FileError(
            f"{path}: not the weights of {architecture} (of another type: {kinds}); {remedy}"
        )
    values = {name: x.to(needed[name].dtype) for name, x in found.items()}
    check_tensors(path, architecture, shapes, values, remedy, finite=finite)
    model.load_state_dict(values | {name: expected[name] for name in counters})
    return model


def _convertible(x: Tensor, wanted: Tensor) -> bool:
    if x.layout != torch.strided or x.is_quantized or x.device.type != "cpu":
        return False
    return x.dtype == wanted.dtype or {x.dtype, wanted.dtype} <= set(FLOATS)


def _prefix_hint(needed: Iterable[str], found: Iterable[str]) -> str:
    """Return the remedy for names with a prefix, as in a model that is part of another one.

    An example is `module.` of DataParallel.
    """
    last = max(needed, key=len, default="")
    for name in found:
        prefix = name.removesuffix(last)
        if prefix and prefix != name and {prefix + n for n in needed} <= set(found):
            return f"save it without the prefix {prefix!r} of its names"
    return ""
