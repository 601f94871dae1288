"""Check models: how they were trained, and that they load and repeat the run's predictions."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from geoloc.countries.cells import read_cells
from geoloc.matrix import (
    ROOMS,
    Row,
    dataset_settings,
    is_trained,
    rows,
    street_test_sets,
    used_crops,
    used_scores,
)
from geoloc.model_record import HISTORY_COLUMNS
from geoloc.verify.loading import TESTED, load
from geoloc.verify.predictions import PREDICTIONS
from geoloc.verify.run import AGAIN, Check, Finding, NotChecked, Run, failure, read_table
from geoloc.verify.shards import shards_with_packed
from geoloc.weighting import make_view

CLIP_HISTORY = [name for name in HISTORY_COLUMNS if name != "seconds"]
FRAMEWORKS = {
    "keras": "tensorflow",
    "clip": "transformers",
    "geoclip": "geoclip",
    "python": "numpy",
}
TRAIN = "delete it and run snakemake again to train it"


def is_keras(run: Run, row: Row) -> bool:
    """Return whether a row's model is a Keras model."""
    return ROOMS[run.config["models"][row.model]["kind"]] == "keras_models"


def model_folder(run: Run, row: Row) -> Path:
    """Return the folder of a row's model: in the run, or where the configuration says."""
    entry = run.config["models"][row.model]
    if not is_trained(entry):
        return run.base / (entry.get("path") or entry["file"])
    return run.folder / "models" / row.path


def placed(run: Run, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the path of their Python file, if any, inside the run's project."""
    file = settings.get("file")
    return dict(settings) | ({"file": str(run.base / file)} if file else {})


def check_records(run: Run) -> Check:
    """Check that each model was trained to the end, with the run's countries and settings."""
    trained = rows(run.config, trained=True)
    for row in trained:
        folder = f"models/{row.path}"
        for name, mistakes in (
            (f"{folder}/classes.json", record_mistakes),
            (f"{folder}/history.csv", history_mistakes),
        ):
            try:
                for problem in mistakes(run, row, run.folder / name):
                    yield Finding(name, f"{problem}; delete {folder} and run snakemake again")
            except NotChecked:
                raise
            except Exception as error:
                yield failure(name, error)
    known = {row.path for row in trained}
    for path in sorted((run.folder / "models").glob("*/*/*")):
        name = path.relative_to(run.folder / "models").as_posix()
        if name not in known and not path.name.startswith("."):
            yield Finding(run.relative(path), "is of no row of Table 1; delete it", warning=True)
    return f"{len(trained)} trained models"


def record_mistakes(run: Run, row: Row, path: Path) -> Iterator[str]:
    """Yield each difference of classes.json from the run."""
    record = json.loads(path.read_text(encoding="utf-8"))
    entry = run.config["models"][row.model]
    expected: dict[str, Any] = {
        "classes": run.need("classes"),
        "dataset": row.dataset,
        "seed": int(row.seed),
        "view": make_view(placed(run, dataset_settings(run.config, row.dataset))).settings(),
    }
    if entry["kind"] == "cells":
        cells = read_cells(path.parent)
        expected |= {"classes": cells.cells.tokens, "model": entry["network"]}
        if cells.countries != run.need("classes"):
            found, expected_countries = map(_short, (cells.countries, run.need("classes")))
            yield f"cells.json is of {found}, expected {expected_countries}"
    elif is_keras(run, row):
        expected["model"] = entry["kind"]
    for key, value in expected.items():
        if record[key] != value:
            yield f"{key} is {_short(record[key])}, expected {_short(value)}"
    settings = run.config["train"] if is_keras(run, row) else {}
    if entry["kind"] == "contrastive":  # a trained model of the kind `clip` has default settings
        settings = entry
    for key, value in record["parameters"].items():
        if key in settings and settings[key] != value and key != "gpus":
            yield f"{key} was {_short(value)}, the configuration says {_short(settings[key])}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def history_mistakes(run: Run, row: Row, path: Path) -> Iterator[str]:
    """Yield what no training leaves: missing epochs, non-finite numbers, an end for no reason."""
    columns = HISTORY_COLUMNS if is_keras(run, row) else CLIP_HISTORY
    table = read_table(path, columns).apply(pd.to_numeric, errors="coerce")
    epochs = json.loads(path.with_name("classes.json").read_text())["parameters"]["epochs"]
    if table.empty or list(table.epoch) != list(range(1, len(table) + 1)):
        yield f"has the epochs {_short(table.epoch.tolist())}, expected 1, 2, 3 and so on"
        return
    if not np.isfinite(table.to_numpy(float)).all():
        row_number = int(np.argmin(np.isfinite(table.to_numpy(float)).all(axis=1))) + 2
        yield f"row {row_number} has numbers that are none or not finite"
        return
    shares = table[["accuracy", "val_accuracy"]]
    if not shares.ge(0).all(axis=None) or not shares.le(1).all(axis=None):
        yield "has accuracies that are not between 0 and 1"
    if table[["loss", "val_loss", "learning_rate"]].lt(0).any(axis=None):
        yield "has a negative loss or learning rate"
    if len(table) > epochs:
        yield f"has {len(table)} epochs, the training had {epochs} at most"
    if len(table) < epochs:
        patience = run.config["train"]["early_stopping_patience"] if is_keras(run, row) else None
        # EarlyStopping ends that many epochs after the lowest validation loss.
        if patience is None or len(table) - 1 - table.val_loss.argmin() != patience:
            yield f"ends after {len(table)} of {epochs} epochs without reason: rows are missing"


def check_keras_models(run: Run) -> Check:
    """Check that Keras models load, have finite weights and repeat some test predictions."""
    return (yield from check_loading(run, "keras", rows(run.config, "keras_models")))


def check_full_size_models(run: Run) -> Check:
    """Check the same for models that see images at full size: CLIP, GeoCLIP and users' models."""
    said = []
    for kind, room in (
        ("clip", "image_text"),
        ("geoclip", "coordinates"),
        ("python", "evaluation"),
    ):
        if own := rows(run.config, room):
            said.append(f"{kind}: " + (yield from check_loading(run, kind, own)))
    return "; ".join(said) or "none"


def check_loading(run: Run, kind: str, own: list[Row]) -> Check:
    """Check that the models of a kind load and repeat their predictions for some images."""
    if importlib.util.find_spec(FRAMEWORKS[kind]) is None:
        raise NotChecked(f"{FRAMEWORKS[kind]} is not installed here")
    if not own:
        return "none"
    tasks = [loading_task(run, kind, row) for row in own]
    report = load_apart if run.isolate else load
    for task, problem in zip(tasks, report(kind, tasks), strict=True):
        if problem:
            trained = kind in ("keras", "clip") and "again" not in problem
            remedy = f"; {TRAIN}" if trained and AGAIN not in problem else ""
            yield Finding(task["name"], f"{problem}{remedy}")
    images = len(tasks[0]["images"])
    return f"{len(tasks)} load; their predictions of {images} images agree"


def loading_task(run: Run, kind: str, row: Row) -> dict[str, Any]:
    """Return what `geoloc.verify.loading` needs of one model, as JSON values.

    These are its folder, its classes, stores of test images and their predictions.
    """
    folder, entry = model_folder(run, row), run.config["models"][row.model]
    name = f"models/{row.path}"
    frame = run.tables.get(PREDICTIONS, {}).get(row)
    # The map of another image would need the stores of all shards.
    views = {
        name: placed(run, settings)
        for name, settings in street_test_sets(run.config, row.dataset).items()
        if settings.get("scores_of", "self") == "self"
    }
    task = {
        "name": f"{name}/model.keras" if kind == "keras" else name,
        "folder": str(folder),
        "classes": run.need("classes"),
        "cells": entry["kind"] == "cells",
        "file": str(run.base / entry["file"]) if entry.get("file") else None,
        "gallery": str(run.base / entry["gallery"]) if entry.get("gallery") else None,
        "options": entry.get("options"),
        "geocoder": run.config["index"]["geocoder"],
        "views": views,
        "prompt": entry.get("prompt"),
        "images": [],
        "stores": [],
        "scores": {},
        "crops": {},
        "predictions": [],
    }
    if frame is not None and (test := tested_shard(run)):
        shard, ids = test
        images, scores = (
            ("arrays/images", "arrays/scores") if kind == "keras" else ("images", "scores")
        )
        chosen = frame[frame.image_id.isin(ids)]
        task["images"] = ids
        task["stores"] = [str(shard.path(images))]
        task["scores"] = {
            name: [str(shard.path(f"{scores}/{name}"))] for name in used_scores(*views.values())
        }
        suffix = ".h5" if kind == "keras" else ".csv"
        task["crops"] = {
            name: [str(shard.path(f"arrays/crops/{name}").with_suffix(suffix))]
            for name in used_crops(*views.values())
        }
        task["predictions"] = json.loads(chosen.to_json(orient="records"))
    return task


def tested_shard(run: Run) -> tuple[Any, list[str]] | None:
    """Return the first shard of street images with test images, and the ids of some of them."""
    for shard, images in shards_with_packed(run):
        ids = images.image_id[images.split == "test"].tolist()[:TESTED]
        if shard.street and ids:
            return shard, ids
    return None


def load_apart(kind: str, tasks: list[dict]) -> list[str]:
    """Run `load` in a separate process.

    TensorFlow and PyTorch can't share one, and a crash ends only that process.
    """
    # A task's paths may be relative, so the folder stays the same and the library goes on the path.
    library = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        [sys.executable, "-m", "geoloc.verify.loading", kind],
        input=json.dumps(tasks),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(library)},
    )
    lines = result.stdout.splitlines()
    if result.returncode or not lines:
        said = result.stderr.strip().splitlines()[-1:] or [f"exit status {result.returncode}"]
        return [f"the process that loads it ended without a result ({said[0]})" for _ in tasks]
    return json.loads(lines[-1])
