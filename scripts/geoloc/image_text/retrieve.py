"""Download model folders from their hub at a pinned revision."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from geoloc.corpus.download import RetrieveError, check_sum
from geoloc.errors import InputError
from geoloc.image_text.folder import load_clip
from geoloc.pytorch.weights import read_tensors

log = logging.getLogger(__name__)


def retrieve_model(
    entry: Mapping, folder: Path, load: Callable[[Path], object] = load_clip
) -> None:
    """Download a model folder from its hub at a pinned revision.

    Only the files of the entry are downloaded. Pickled weights are read with `weights_only` and
    converted to safetensors.

    Args:
        entry: entry of config/weights.yaml: hub_id, revision, and the files with their known
            checksums.
        folder: appears only once `load` accepts it.
        load: loads the model; it raises OSError or InputError for an incomplete folder.

    Raises:
        RetrieveError: with the remedy.
    """
    from huggingface_hub import snapshot_download

    temporary = folder.with_name(f".{folder.name}.partial")
    try:
        snapshot_download(
            entry["hub_id"],
            revision=entry["revision"],
            local_dir=temporary,
            allow_patterns=list(entry["files"]),
        )
    except Exception as error:  # the client raises what its HTTP library raises
        large = f" (about {entry['gigabytes']:g} GB)" if "gigabytes" in entry else ""
        raise RetrieveError(
            f"cannot fetch {entry['hub_id']}{large}: {' '.join(str(error).split())} Run again to "
            f"go on, or fetch revision {entry['revision']} elsewhere and put it at {folder}"
        ) from error
    _check_files(entry, temporary)
    try:
        if "pytorch_model.bin" in entry["files"]:
            _convert(temporary / "pytorch_model.bin")
        load(temporary)
    except (OSError, InputError) as error:
        if getattr(error, "errno", None) is None:  # not an error of this machine: download it again
            shutil.rmtree(temporary)
        raise RetrieveError(
            f"{entry['hub_id']} at revision {entry['revision']} cannot be used: {error}"
        ) from error
    shutil.rmtree(temporary / ".cache", ignore_errors=True)
    temporary.replace(folder)


def _check_files(entry: Mapping, folder: Path) -> None:
    """Raise RetrieveError if a file of the entry is missing or wrong; wrong files are deleted."""
    missing = [name for name in entry["files"] if not (folder / name).is_file()]
    if missing:
        raise RetrieveError(
            f"{entry['hub_id']} has no {', '.join(missing)} at revision {entry['revision']}"
        )
    for name, sums in entry["files"].items():
        try:
            check_sum(folder / name, sums or {})
        except RetrieveError:
            shutil.rmtree(folder)
            raise


def _convert(pickled: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    log.info("converting %s to safetensors", pickled.name)
    state = read_tensors(pickled, "retrieve it again")
    state = {name: tensor.clone().contiguous() for name, tensor in state.items()}
    try:
        save_file(state, pickled.with_name("model.safetensors"), {"format": "pt"})
    except SafetensorError as error:  # also if the disk is full
        raise RetrieveError(f"cannot write next to {pickled}: {error}; run again") from error
    pickled.unlink()
