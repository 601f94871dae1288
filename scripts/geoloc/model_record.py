"""Files next to a model that the workflow trained: `classes.json` describes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from geoloc.errors import FileError
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
    """

    classes: list[str]
    dataset: str
    view: View
    file: str = ""
    code: str = ""


def read_record(folder: str | Path) -> ModelRecord:
    """Read the `classes.json` of a model's folder.

    Raises:
        OSError: if the file is missing, damaged or not written by the workflow.
    """
    path = Path(folder, "classes.json")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        classes, dataset = record["classes"], record["dataset"]
        view = make_view(record["view"])
        options = dict(record.get("model_parameters") or {})
        known = isinstance(dataset, str) and classes and classes == sorted(set(map(str, classes)))
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"{folder}: no complete model ({error!r}); train it again") from error
    if not known:
        raise FileError(
            f"{path}: no complete model: expected the name of a dataset and sorted classes, "
            f"found {dataset!r} and {str(classes)[:80]}; train it again"
        )
    file, code = (str(options.get(key, "")) for key in ("file", "code"))
    return ModelRecord(classes, dataset, view, file, code)
