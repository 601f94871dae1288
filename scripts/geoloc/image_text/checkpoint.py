"""Checkpoints of a CLIP training after every epoch, with which a killed job resumes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from geoloc.errors import InputError
from geoloc.files import atomic_path

log = logging.getLogger(__name__)


class ClipState:
    """A checkpoint file, replaced atomically after every epoch.

    Args:
        path: the file.
        fingerprint: hash of everything that the training depends on; the state of another training
            is ignored.
    """

    def __init__(self, path: str | Path, fingerprint: str) -> None:
        self.path, self.fingerprint = Path(path), fingerprint

    def load(self) -> dict[str, Any] | None:
        """Return what was last saved, on the CPU; None if no state of the same training exists."""
        if not self.path.is_file():
            return None
        try:
            self._check_sums()
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            fingerprint = saved["fingerprint"]
        except PermissionError:
            raise
        except Exception as error:  # a damaged file can make torch raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning("%s: damaged, training starts again (%s)", self.path, reason)
            return None
        if fingerprint != self.fingerprint:
            log.info("%s: of other settings or images, training starts again", self.path)
            return None
        return saved

    def _check_sums(self) -> None:
        """Compare the parts of the file with their checksums, which torch writes and ignores."""
        with ZipFile(self.path) as parts:
            if damaged := parts.testzip():
                raise InputError(f"{damaged} is not what was written")

    def save(self, values: dict[str, Any]) -> None:
        """Save tensors, numbers, texts, and lists and dicts of them."""
        with atomic_path(self.path) as temporary:
            torch.save({"fingerprint": self.fingerprint, **values}, temporary)

    def delete(self) -> None:
        """Delete the file once the results of the training are written."""
        self.path.unlink(missing_ok=True)
