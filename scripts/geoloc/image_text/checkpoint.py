"""What a training of CLIP leaves on disk after every epoch, so that it survives being killed."""

from __future__ import annotations

import logging
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
            fingerprint = saved["fingerprint"]
        except PermissionError:
            raise
        except Exception as error:  # torch raises whatever a damaged file leads it to
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning("%s: damaged, training starts again (%s)", self.path, reason)
            return None
        if fingerprint != self.fingerprint:
            log.info("%s: of other settings or images, training starts again", self.path)
            return None
        return saved

    def save(self, values: dict[str, Any]) -> None:
        """Keep tensors, numbers, texts, and lists and dicts of them."""
        with atomic_path(self.path) as temporary:
            torch.save({"fingerprint": self.fingerprint, **values}, temporary)

    def delete(self) -> None:
        """Remove the file once the training's results are written."""
        self.path.unlink(missing_ok=True)
