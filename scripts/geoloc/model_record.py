"""Files next to a model that the workflow trained: `classes.json` describes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoloc.errors import FileError
from geoloc.files import file_hash
from geoloc.matrix import ANY_SEED, Row
from geoloc.weighting import View, make_view

HISTORY_COLUMNS = (
    "epoch",
    "seconds",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
)
"""Columns of the `history.csv` of a Keras model."""


@dataclass(frozen=True)
class ModelRecord:
    """The record of a trained model.

    Attributes:
        classes: sorted ISO codes, in the order of the model's outputs.
        dataset: name of the training dataset.
        view: how it shows images.
        file: name of the Python file of a model of the kind `keras`; empty for others.
        code: digest of that file; empty for others.
        entry: name of its entry in the configuration; empty if it was not recorded.
        seed: seed of its training, as text; empty if it was not recorded.
    """

    classes: list[str]
    dataset: str
    view: View
    file: str = ""
    code: str = ""
    entry: str = ""
    seed: str = ""


def read_record(folder: str | Path) -> ModelRecord:
    """Read the `classes.json` of a model's folder, and compare the model's files with it.

    Raises:
        OSError: if the file is missing, damaged or not written by the workflow, or a file of the
            model is not the one that its training wrote.
    """
    path = Path(folder, "classes.json")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        classes, dataset = record["classes"], record["dataset"]
        view = make_view(record["view"])
        options = dict(record.get("model_parameters") or {})
        known = isinstance(dataset, str) and classes and classes == sorted(set(map(str, classes)))
        _check_files(folder, record.get("files") or {})
    except (PermissionError, FileError):
        raise
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise FileError(f"{folder}: no complete model: it has no {name}; train it again") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{folder}: no complete model ({error!r}); train it again") from error
    if not known:
        raise FileError(
            f"{path}: no complete model: expected the name of a dataset and sorted classes, "
            f"found {dataset!r} and {str(classes)[:80]}; train it again"
        )
    file, code = (str(options.get(key, "")) for key in ("file", "code"))
    entry, seed = (str(record.get(key, "")) for key in ("entry", "seed"))
    return ModelRecord(classes, dataset, view, file, code, entry, seed)


def _check_files(folder: str | Path, files: Mapping[str, str]) -> None:
    """Raise FileError if a file is not the one that the training wrote.

    Keras and safetensors have no checksum, and weights of the same shapes load in any model.
    """
    for name, digest in files.items():
        if file_hash(Path(folder, name)) != digest:
            raise FileError(
                f"{folder}: no complete model: its {name} is not the file that its training "
                "wrote; restore that file or train it again"
            )


def file_digests(folder: str | Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder by name, as `files` of `classes.json`."""
    return {path.name: file_hash(path) for path in sorted(Path(folder).iterdir()) if path.is_file()}


def check_row(folder: str | Path, row: Row, settings: Mapping[str, Any] | None = None) -> None:
    """Check that the model in the folder of a row was trained for this row.

    A model that the workflow does not train belongs to no row.

    Args:
        folder: the folder, with a `classes.json`.
        row: the row.
        settings: how the run shows the row's dataset, see `geoloc.weighting.make_view`; not
            compared if None.

    Raises:
        FileError: if it is the model of another row, or was trained on images that were shown with
            other settings.
    """
    if row.seed == ANY_SEED:
        return
    record = read_record(folder)
    found = (record.entry or row.model, record.dataset, record.seed or row.seed)
    if found != row:
        raise FileError(
            f"{folder} holds the model {'/'.join(found)}, not {row.path}; delete it and run "
            "snakemake again"
        )
    if settings is None:
        return
    trained, shown = record.view.settings(), make_view(settings).settings()
    if other := sorted(key for key in trained | shown if trained.get(key) != shown.get(key)):
        raise FileError(
            f"{folder} was trained with other settings of the dataset {row.dataset} "
            f"({', '.join(other)}); delete it and run snakemake again"
        )
