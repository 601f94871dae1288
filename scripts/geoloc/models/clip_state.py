"""What a training of CLIP leaves on disk after every epoch, so that it survives being killed."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from geoloc.files import atomic_path

log = logging.getLogger(__name__)


class ClipState:
    """One file, replaced in one step after every epoch.

    `fingerprint`: of everything that the training depends on; the state of another is not used.
    """

    def __init__(self, path: str | Path, fingerprint: str) -> None:
        self.path, self.fingerprint = Path(path), fingerprint

    def load(self) -> dict[str, Any] | None:
        """What was saved last, on the CPU; None if there is nothing of the same training."""
        if not self.path.is_file():
            return None
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            log.warning("%s cannot be read, starting anew (%s)", self.path, error)
            return None
        if saved.get("fingerprint") != self.fingerprint:
            log.info("%s: of a run with other settings or images, starting anew", self.path)
            return None
        return saved

    def save(self, values: dict[str, Any]) -> None:
        """Keep tensors, numbers, texts, and lists and dicts of them."""
        with atomic_path(self.path) as temporary:
            torch.save({"fingerprint": self.fingerprint, **values}, temporary)

    def delete(self) -> None:
        """Remove the file once the training's results are written."""
        self.path.unlink(missing_ok=True)
