"""Model folders in the layout of transformers, read without running code or downloads."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from geoloc.errors import FileError
from geoloc.pytorch.finite import finite
from geoloc.tensors import check_tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
NEEDED = (((CONFIG,),), ((WEIGHTS,), (INDEX,)))
"""The files of every model folder. Of each group, one alternative must be complete."""


def check_files(
    folder: Path, needed: Sequence[Sequence[Sequence[str]]], what: str, remedy: str
) -> None:
    """Check that a folder has the files of a model; transformers would make up missing ones.

    Args:
        folder: the folder.
        needed: groups of alternatives like `NEEDED`; one of each group must be complete.
        what: the model that the folder should hold, without an article, for the message.
        remedy: what to do about a wrong folder, for the message.

    Raises:
        OSError: names the missing files.
    """
    if not folder.is_dir():
        raise FileError(f"{folder}: no such {what} folder; {remedy}")
    missing = [
        " or ".join(" and ".join(files) for files in choices)
        for choices in needed
        if not any(all((folder / name).is_file() for name in files) for files in choices)
    ]
    if not missing:
        return
    pickled = [path.name for path in sorted(folder.glob("*.bin")) if WEIGHTS in " ".join(missing)]
    note = f" ({pickled[0]} is a pickle, which is not loaded)" if pickled else ""
    names = ", ".join(missing)
    raise FileError(f"{folder}: no complete {what}, {names} missing{note}; {remedy}")


def read_json(path: Path, remedy: str) -> dict:
    """Read a JSON file; empty if it holds anything but an object.

    Raises:
        OSError: if the file is missing or not JSON.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileError(f"{path}: not JSON ({error}); {remedy}") from error
    return found if isinstance(found, dict) else {}


def weights_path(folder: Path) -> Path:
    """Return the file with all weights of a folder, or the index of those with parts of them."""
    return folder / (WEIGHTS if (folder / WEIGHTS).is_file() else INDEX)


def weight_files(folder: Path, remedy: str) -> list[Path]:
    """List the safetensors files of a folder, from its index if it has one.

    Raises:
        OSError: if the index names anything but safetensors files next to it.
    """
    path = weights_path(folder)
    if path.name == WEIGHTS:
        return [path]
    names = read_json(path, remedy).get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")
        for name in names.values()
    ):
        raise FileError(f"{path}: no list of safetensors files next to it; {remedy}")
    return [folder / name for name in sorted(set(names.values()))]


def unusable(folder: Path, what: str, error: Exception, remedy: str) -> OSError:
    """Return the error for a folder that a library rejects, with the first line of its message."""
    reason = (str(error).splitlines() or [""])[0] or type(error).__name__
    return FileError(f"{folder}: {what} ({reason}); {remedy}")


def load_network(
    architecture: type[PreTrainedModel],
    folder: str | Path,
    remedy: str,
    *,
    unused: Sequence[str] = (),
    **changes: Any,
) -> PreTrainedModel:
    """Load a network of transformers in evaluation mode, float32, on the CPU.

    Only safetensors are read, no code in the folder runs, and nothing is downloaded. transformers
    translates tensor names that it has changed since the folder was saved.

    Args:
        architecture: class of transformers.
        folder: the folder that its `save_pretrained` wrote.
        remedy: what to do about a wrong folder, for the message.
        unused: name patterns (`fnmatch`) of tensors that take no part in the computation: they may
            be missing from the folder or the network.
        **changes: configuration keys whose values differ from the folder's.

    Raises:
        OSError: if a file is missing or damaged. Names the tensors that are missing, unexpected, of
            another shape, or not finite.
    """
    folder = Path(folder)
    title = architecture.__name__
    check_files(folder, NEEDED, title, remedy)
    weight_files(folder, remedy)
    try:
        with _quiet():
            network, report = architecture.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **changes,
            )
    except PermissionError:
        raise
    except Exception as error:  # a damaged file can make the library raise anything
        raise unusable(folder, f"cannot be loaded as {title}", error, remedy) from error
    _check_report(weights_path(folder), network, report, unused, remedy)
    return network.eval().requires_grad_(False)


def _check_report(
    path: Path, network: PreTrainedModel, report: dict, unused: Sequence[str], remedy: str
) -> None:
    """Raise OSError unless the folder has exactly the tensors of the network."""

    def used(names: Sequence[str]) -> set[str]:
        return {name for name in names if not any(fnmatch(name, each) for each in unused)}

    needed = network.state_dict()
    found = {name: x for name, x in needed.items() if name not in used(report["missing_keys"])}
    for name in used(report["unexpected_keys"]):
        found[name] = torch.empty(0)
    for name, shape, _ in report["mismatched_keys"]:
        found[name] = torch.empty(shape, device="meta")
    shapes = {name: tuple(x.shape) for name, x in needed.items()}
    title = f"the {type(network).__name__} of its {CONFIG}"
    check_tensors(path, title, shapes, found, remedy, finite)
    if report["error_msgs"]:
        raise FileError(f"{path}: not the weights of {title} ({report['error_msgs'][0]}); {remedy}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the progress bars and the report of transformers; the report is checked instead."""
    from transformers.utils import logging as messages

    level, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity(logging.CRITICAL)
    messages.disable_progress_bar()
    try:
        yield
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()
