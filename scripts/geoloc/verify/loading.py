"""Load models and repeat some of their predictions, in a separate process.

    python -m geoloc.verify.loading keras|clip|geoclip|python < tasks.json

Frameworks are imported only when a model is loaded.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from geoloc.countries.names import display_name

TESTED = 4  # test images that each model predicts again
TOLERANCE = 0.05  # of a probability, between devices and precisions; other weights differ more


def load(kind: str, tasks: list[dict]) -> list[str]:
    """Return what is wrong with the model of each task of geoloc.verify.models, or ""."""
    loaders = {
        "keras": load_keras,
        "clip": load_clip,
        "geoclip": load_geoclip,
        "python": load_python,
    }
    return [_problem(loaders[kind], task) for task in tasks]


def _problem(loader: Callable[[Mapping], str], task: Mapping) -> str:
    try:
        return loader(task)
    except Exception as error:
        own = isinstance(error, OSError | ValueError)
        return str(error) if own else f"{type(error).__name__}: {error}"


def load_keras(task: Mapping[str, Any]) -> str:
    """Return what is wrong with a folder of `geoloc.keras_models.training.train`."""
    from geoloc.keras_models.cells import load_places
    from geoloc.keras_models.predict import load_trained
    from geoloc.stores import dataset_arrays
    from geoloc.weighting import make_view

    if task["cells"]:
        trained = load_trained(task["folder"])
        places = load_places(task["folder"], trained.classes, task["classes"])
    else:
        trained, places = load_trained(task["folder"], task["classes"], task["file"]), None
    probabilities = {}
    for name, settings in task["views"].items() if task["images"] else ():
        view = make_view(settings)
        arrays = dataset_arrays(
            task["stores"], task["scores"], view, "test", None, 0, task["crops"]
        )
        row_of = {image_id: row for row, image_id in enumerate(arrays.image_id)}
        rows = np.array([row_of[image_id] for image_id in task["images"]])
        found = trained.model.predict_on_batch(view(*arrays.read(rows)))
        probabilities[name] = places.answer(found).probabilities if places else found
    return _disagreement(task, probabilities) if probabilities else ""


def load_clip(task: Mapping[str, Any]) -> str:
    """Return what is wrong with the folder of a CLIP."""
    from geoloc.image_text.zero_shot import ClipZeroShot, check_classes

    if not Path(task["folder"]).is_dir():
        return f"the folder {task['folder']} does not exist; run snakemake again"
    check_classes(task["folder"], task["classes"])
    names = [display_name(country) for country in task["classes"]]
    model = ClipZeroShot(task["folder"], names, task["prompt"] or "{country}")
    for name, values in model.network.state_dict().items():
        if not bool(values.isfinite().all()):
            return f"weights are not finite: {name}"
    return _full_size_disagreement(model, task)


def load_geoclip(task: Mapping[str, Any]) -> str:
    """Return what is wrong with the folder of a GeoCLIP's CLIP, or with its gallery."""
    from geoloc.coordinates.geoclip import GeoClip

    model = GeoClip(task["classes"], task["geocoder"], task["folder"], task["gallery"])
    return _full_size_disagreement(model, task)


def load_python(task: Mapping[str, Any]) -> str:
    """Return what is wrong with a user's file."""
    from geoloc.evaluation.user_model import UserModel

    model = UserModel(task["file"], task["classes"], task["geocoder"], task["options"])
    return _full_size_disagreement(model, task)


def _full_size_disagreement(model: Any, task: Mapping[str, Any]) -> str:
    """Return where a model that sees images at full size does not repeat its predictions."""
    from geoloc.evaluation.full_size import predict_images, read_full_size
    from geoloc.stores import open_score_maps, score_key
    from geoloc.weighting import make_view

    if not task["images"]:
        return ""
    views = {name: make_view(settings) for name, settings in task["views"].items()}
    keyed = {name: (view, score_key(view)) for name, view in views.items()}
    with ExitStack() as stack:
        maps = open_score_maps(
            stack, task["stores"], task["scores"], views.values(), None, 0, task["crops"]
        )
        items = read_full_size(task["stores"], set(task["images"]), scores=maps)
        image_ids, answers = predict_images(model, items, keyed, len(task["classes"]))
    order = {image_id: row for row, image_id in enumerate(image_ids)}
    rows = [order[image_id] for image_id in task["images"]]
    return _disagreement(task, {name: found.probabilities[rows] for name, found in answers.items()})


def _disagreement(task: Mapping[str, Any], probabilities: Mapping[str, np.ndarray]) -> str:
    """Return where recorded predictions differ from those of the model."""
    column = {country: number for number, country in enumerate(task["classes"])}
    row_of = {image_id: row for row, image_id in enumerate(task["images"])}
    frame = pd.DataFrame(task["predictions"])
    for answer in frame[frame.test_set.isin(list(probabilities))].to_dict("records"):
        found = probabilities[answer["test_set"]][row_of[answer["image_id"]]]
        for rank in range(1, min(5, len(column)) + 1):
            country, expected = answer[f"country_{rank}"], answer[f"probability_{rank}"]
            if country is None:  # a model of places names no country without probability
                continue
            got = found[column[country]] if country in column else np.nan
            if expected is None or not abs(got - expected) <= TOLERANCE:
                return (
                    f"gives {answer['image_id']} ({answer['test_set']}) the probability {got:.3f} "
                    f"for {country}, its predictions say {expected}; delete the model's table "
                    "below predictions and run snakemake again"
                )
    return ""


def main() -> int:
    """Read tasks from standard input and write the problems as one line of JSON."""
    output = os.dup(1)
    os.dup2(2, 1)  # output of libraries is not a result
    problems = load(sys.argv[1], json.load(sys.stdin))
    with os.fdopen(output, "w", encoding="utf-8") as file:
        file.write(json.dumps(problems) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
