"""Checkpoints of a Keras training after every epoch, with which a killed job resumes."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from geoloc.errors import InputError
from geoloc.files import atomic_path, file_hash, write_text
from geoloc.tensors import check_tensors

log = logging.getLogger(__name__)

REMEMBERED = ("best", "wait", "cooldown_counter")


class TrainingState(keras.callbacks.Callback):
    """Saves variables, callbacks, history and the best model after every epoch.

    It must be the last callback: others change what it saves at the end of an epoch, and reset what
    it restores when training begins. The file `state.json` says which other files are valid and is
    replaced atomically, so a job may be killed at any moment.

    Args:
        folder: where the state is kept.
        callbacks: the callbacks with state, by name.
        fingerprint: hash of everything that the run depends on; the state of another run is
            discarded.

    Attributes:
        epoch: number of finished epochs.
        finished: whether the last one ended the training early.
        history: one row of values per epoch, appended by another callback.
    """

    def __init__(
        self, folder: Path, callbacks: Mapping[str, keras.callbacks.Callback], fingerprint: str
    ) -> None:
        super().__init__()
        self.folder, self.memory, self.fingerprint = folder, dict(callbacks), fingerprint
        self.epoch, self.finished = 0, False
        self.history: list[dict[str, float]] = []
        self._remembered: dict[str, dict[str, Any]] = {}

    @property
    def _file(self) -> Path:
        return self.folder / "state.json"

    def restore(self, model: keras.Model) -> None:
        """Restore a compiled model to the last finished epoch of the same run, if any.

        A state that is damaged or not finite is discarded with a warning, because every retry would
        hit it again.
        """
        if not self._file.is_file():
            return
        model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        try:
            state, values = self._read({n: tuple(v.shape) for n, v in variables.items()})
        except PermissionError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
            log.warning("%s is damaged, training starts again (%s)", self.folder, error)
            shutil.rmtree(self.folder)
            return
        if state is None:
            log.info("%s: of a run with other settings or images, starting again", self.folder)
            shutil.rmtree(self.folder)
            return
        for name, variable in variables.items():
            variable.assign(values[name])
        self.epoch, self.finished = state["epoch"], state["finished"]
        self.history, self._remembered = state["history"], state["callbacks"]
        log.info("going on after epoch %d, found in %s", self.epoch, self.folder)

    def _read(self, shapes: Mapping[str, tuple]) -> tuple[dict | None, dict[str, np.ndarray]]:
        """Return the state and its variables; None and no variables for another run."""
        state = json.loads(self._file.read_text(encoding="utf-8"))
        if state["fingerprint"] != self.fingerprint:
            return None, {}
        for name, digest in state["digests"].items():
            if file_hash(self.folder / name) != digest:
                raise InputError(f"{name} is not what was written")
        with np.load(self.folder / state["variables"], allow_pickle=False) as saved:
            values = dict(saved)
        check_tensors(self.folder / state["variables"], "this model", shapes, values, "")
        return state, values

    def on_train_begin(self, logs=None) -> None:
        for name, values in self._remembered.items():
            vars(self.memory[name]).update(values)

    @property
    def best_model(self) -> Path:
        """Return the model after the first epoch with the highest validation accuracy."""
        best = max(self.history, key=lambda row: row["val_accuracy"])
        return self.folder / f"best{best['epoch']:04d}.keras"

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        self.epoch, self.finished = epoch + 1, bool(self.model.stop_training)
        if self.history[-1] == max(self.history, key=lambda row: row["val_accuracy"]):
            with atomic_path(self.best_model) as temporary:
                self.model.save(temporary)
        variables = self.folder / f"variables{self.epoch:04d}.npz"
        values = {name: np.asarray(value) for name, value in _variables(self.model).items()}
        with atomic_path(variables) as temporary:
            np.savez(temporary, **values)
        files = (variables, self.best_model)
        state = {
            "fingerprint": self.fingerprint,
            "epoch": self.epoch,
            "finished": self.finished,
            "variables": variables.name,
            "digests": {path.name: file_hash(path) for path in files},
            "callbacks": {name: _remember(callback) for name, callback in self.memory.items()},
            "history": self.history,
        }
        write_text(self._file, json.dumps(state))
        for path in self.folder.iterdir():
            if path not in (self._file, *files):
                path.unlink()

    def delete(self) -> None:
        """Delete the state once the results of the training are written."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return everything that training changes: weights, dropout states, optimizer.

    They are numbered by their order, because dropout states share a name. `Model.save_weights`
    would omit them.
    """
    variables = [*model.variables, *model.optimizer.variables]
    return {f"{number:05d}": variable for number, variable in enumerate(variables)}


def _remember(callback: keras.callbacks.Callback) -> dict[str, Any]:
    values = {name: vars(callback)[name] for name in REMEMBERED if name in vars(callback)}
    return {name: None if value is None else float(value) for name, value in values.items()}
