"""The explanation of one row of Table 1: maps, changed images, and checks of the maps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from geoloc.explain.changes import Pictures, measure_changes, remove
from geoloc.explain.faithfulness import deletion_and_insertion, pointing_game
from geoloc.explain.influence import image_influence, influence_table
from geoloc.explain.keras_probe import KerasProbe
from geoloc.explain.randomization import STAGES, randomized_maps
from geoloc.explain.relevance import similarity
from geoloc.stores import Explanation
from geoloc.weighting import other_rows

log = logging.getLogger(__name__)

GRAD_CAM, INTEGRATED_GRADIENTS = "grad_cam", "integrated_gradients"
CHECK_COLUMNS = [
    "image_id", "label", "method", "answer", "probability", "pointing_game", "area", "deletion",
    "deletion_other", "insertion", "insertion_other", "completeness_error",
    *(f"similarity_{stage}" for stage in STAGES),
]  # fmt: skip

Maps = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Settings:
    """The section `explain` of the configuration, see its schema."""

    images: int = 730
    steps: int = 32
    baseline: str = "black"
    fills: Sequence[str] = ("black", "mean", "blur")
    checked_images: int = 64
    points: int = 20


@dataclass(frozen=True)
class Explained:
    """What `explain_row` found: maps, and tables with rows for each image."""

    explanations: list[Explanation]
    influence: pd.DataFrame
    changes: pd.DataFrame
    checks: pd.DataFrame


def explain_row(
    probe: KerasProbe,
    pictures: Pictures,
    classes: Sequence[str],
    class_maps: Mapping[str, np.ndarray],
    names: Sequence[str],
    settings: Settings,
    seed: int,
) -> Explained:
    """Explain a model's answers on some test images.

    Args:
        probe: the model.
        pictures: the images as the model sees them, with their scored pixels.
        classes: ISO codes of the model's outputs.
        class_maps: class of each pixel by image id, see `geoloc.explain.objects.class_maps`.
        names: names of these classes by index.
        settings: how much is measured.
        seed: of every random choice.
    """
    probabilities = probe.probabilities(pictures.image)
    answer = probabilities.argmax(axis=1)
    methods = explainers(probe, settings)
    maps = {name: explain(pictures.image, answer) for name, explain in methods.items()}
    log.info("maps of %d images by %s", len(pictures), ", ".join(maps))
    explanations = [
        Explanation(
            str(image_id),
            classes[pictures.label[row]],
            classes[answer[row]],
            {name: relevance[row] for name, relevance in maps.items()},
        )
        for row, image_id in enumerate(pictures.image_id)
    ]
    influence = [
        found
        for each, scored in zip(explanations, pictures.scored, strict=True)
        for found in image_influence(each, scored, class_maps[each.image_id], names)
    ]
    changes = measure_changes(probe.probabilities, pictures, settings.fills, seed)
    log.info("%d changed images", len(changes))
    checks = check_maps(probe, pictures, answer, maps, settings, seed)
    checks.insert(1, "label", np.tile([e.label for e in explanations], len(maps)))
    checks["answer"] = np.tile([e.predicted for e in explanations], len(maps))
    checks["probability"] = np.tile(probabilities.max(axis=1), len(maps))
    return Explained(
        explanations, influence_table(influence), changes, checks.reindex(columns=CHECK_COLUMNS)
    )


def explainers(
    probe: KerasProbe, settings: Settings
) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Return functions from images uint8 (n, 224, 224, 3) and answers int (n,) to relevance
    (n, 224, 224), by the name of the method."""
    found = {}
    if probe.feature_layer is None:
        log.warning("no Grad-CAM: the model has no convolution")
    else:
        found[GRAD_CAM] = probe.grad_cam
    found[INTEGRATED_GRADIENTS] = lambda image, answer: probe.integrated_gradients(
        image, baseline_of(image, settings.baseline), answer, settings.steps
    )
    return found


def baseline_of(image: np.ndarray, fill: str) -> np.ndarray:
    """Return the images that integrated gradients start from, all fill: uint8 (n, H, W, 3)."""
    return remove(image, np.ones(image.shape[:-1], bool), fill)


def check_maps(
    probe: KerasProbe,
    pictures: Pictures,
    answer: np.ndarray,
    maps: Maps,
    settings: Settings,
    seed: int,
) -> pd.DataFrame:
    """Check maps, with a row for each method and image. All but the pointing game is measured
    on the first images of a random order only, as it takes many answers of the model."""
    drawn = np.random.default_rng([seed, 2]).permutation(len(pictures))
    rows = np.sort(drawn[: settings.checked_images])
    some, answers = pictures.part(rows), answer[rows]
    tables = []
    for name, relevance in maps.items():
        table = pd.DataFrame(
            {
                "image_id": pictures.image_id,
                "method": name,
                "pointing_game": pointing_game(relevance, pictures.scored),
                "area": pictures.scored.mean(axis=(1, 2)),
            }
        )
        measured = perturbed(probe, some, relevance[rows], answers, settings, seed)
        measured |= randomized(probe, name, some, relevance[rows], answers, settings, seed)
        if name == INTEGRATED_GRADIENTS:
            measured["completeness_error"] = completeness(probe, some, answers, settings)
        for column, values in measured.items():
            table.loc[rows, column] = values
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def perturbed(
    probe: KerasProbe,
    pictures: Pictures,
    relevance: np.ndarray,
    answer: np.ndarray,
    settings: Settings,
    seed: int,
) -> dict[str, np.ndarray]:
    """Measure deletion and insertion by each image's own map, and by that of another image.

    The other map is as smooth, and as likely at its places, but knows nothing of the image.
    """
    found = {}
    other = relevance[other_rows(len(relevance), seed)]
    for suffix, each in (("", relevance), ("_other", other)):
        deletion, insertion = deletion_and_insertion(
            probe.probabilities, pictures.image, each, answer, settings.points, seed
        )
        found |= {f"deletion{suffix}": deletion, f"insertion{suffix}": insertion}
    return found


def randomized(
    probe: KerasProbe,
    method: str,
    pictures: Pictures,
    relevance: np.ndarray,
    answer: np.ndarray,
    settings: Settings,
    seed: int,
) -> dict[str, list[float]]:
    """Compare each image's map with that of the randomized model, by stage."""
    explain = explainers(probe, settings)[method]
    stages = randomized_maps(probe.model, lambda: explain(pictures.image, answer), seed)
    return {
        f"similarity_{stage}": [similarity(*pair) for pair in zip(relevance, found, strict=True)]
        for stage, found in stages.items()
    }


def completeness(
    probe: KerasProbe, pictures: Pictures, answer: np.ndarray, settings: Settings
) -> np.ndarray:
    """Measure how far integrated gradients are from adding up: float64 (n,), as a share of the
    difference of the scores that they should add up to."""
    baseline = baseline_of(pictures.image, settings.baseline)
    total = probe.attributions(pictures.image, baseline, answer, settings.steps)
    total = total.sum(axis=(1, 2, 3), dtype=np.float64)
    expected = probe.scores(pictures.image, answer) - probe.scores(baseline, answer)
    gap = np.abs(total - expected)
    return np.divide(gap, np.abs(expected), out=np.zeros_like(gap), where=expected != 0)
