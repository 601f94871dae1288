"""The explanation of one row of Table 1: maps, changed images, and checks of the maps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from geoloc.explain.changes import Pictures, measure_changes
from geoloc.explain.faithfulness import deletion_and_insertion, pointing_game
from geoloc.explain.influence import control_shares, image_influence, influence_table
from geoloc.explain.methods import Probe, Settings
from geoloc.explain.randomization import STAGES, randomized_maps
from geoloc.explain.relevance import as_relevance, similarity
from geoloc.stores import Explanation
from geoloc.types import ARRAY_SIZE
from geoloc.weighting import other_rows

log = logging.getLogger(__name__)

CHECK_COLUMNS = [
    "image_id", "label", "method", "answer", "probability", "pointing_game", "area", "deletion",
    "deletion_other", "insertion", "insertion_other", "completeness_error",
    *(f"similarity_{stage}" for stage in STAGES), "similarity_labels",
]  # fmt: skip

Maps = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Explained:
    """What `explain_row` found.

    Attributes:
        explanations: the maps of each image.
        influence: see `geoloc.explain.influence.influence_table`.
        changes: see `geoloc.explain.changes.measure_changes`.
        checks: see `check_maps`.
    """

    explanations: list[Explanation]
    influence: pd.DataFrame
    changes: pd.DataFrame
    checks: pd.DataFrame


def explain_row(
    probe: Probe,
    pictures: Pictures,
    classes: Sequence[str],
    class_maps: Mapping[str, np.ndarray],
    names: Sequence[str],
    settings: Settings,
    seed: int,
    misled: Probe | None = None,
) -> Explained:
    """Explain a model's answers on some test images.

    Args:
        probe: the model.
        pictures: the images as the model sees them, with their scored pixels.
        classes: ISO codes of the model's answers.
        class_maps: class of each pixel by image id, int (side, side) like the pictures, see
            `geoloc.explain.objects.class_maps`.
        names: names of these classes by index.
        settings: how much is measured.
        seed: of every random choice.
        misled: the same network trained on random labels, if there is one.

    Returns:
        The maps, 224 × 224 as they are stored, and the tables, measured at the pictures' size.
    """
    probabilities = probe.probabilities(pictures.image)
    answer = probabilities.argmax(axis=1)
    methods = probe.explainers(settings)
    maps = {name: explain(pictures.image, answer) for name, explain in methods.items()}
    log.info("maps of %d images by %s", len(pictures), ", ".join(maps))
    labels = [classes[label] for label in pictures.label]
    answers = [classes[each] for each in answer]
    changes = measure_changes(probe.probabilities, pictures, settings.fills, seed)
    log.info("%d changed images", len(changes))
    checks = check_maps(probe, pictures, answer, maps, settings, seed, misled)
    checks.insert(1, "label", np.tile(labels, len(maps)))
    checks["answer"] = np.tile(answers, len(maps))
    checks["probability"] = np.tile(probabilities.max(axis=1), len(maps))
    return Explained(
        stored_explanations(pictures.image_id, labels, answers, maps),
        influence_of_maps(pictures, labels, maps, class_maps, names, seed),
        changes,
        checks.reindex(columns=CHECK_COLUMNS),
    )


def stored_explanations(
    image_ids: Sequence[str], labels: Sequence[str], answers: Sequence[str], maps: Maps
) -> list[Explanation]:
    """Bring maps to the size in which they are stored, one Explanation for each image.

    Args:
        image_ids: ids of n images.
        labels: their countries.
        answers: the model's answers.
        maps: relevance (n, side, side) by method.
    """
    stored = {method: resized_relevance(relevance) for method, relevance in maps.items()}
    found = []
    for row, columns in enumerate(zip(map(str, image_ids), labels, answers, strict=True)):
        own = {method: relevance[row] for method, relevance in stored.items()}
        found.append(Explanation(*columns, own))
    return found


def resized_relevance(relevance: np.ndarray, side: int = ARRAY_SIZE) -> np.ndarray:
    """Resize maps.

    Args:
        relevance: float32 (n, H, W), see `as_relevance`.
        side: side of the result in pixels.

    Returns:
        float32 (n, side, side), with sums of 1, or of 0 for maps without relevance.
    """
    if relevance.shape[1:] == (side, side):
        return relevance
    method = cv2.INTER_AREA if relevance.shape[1] > side else cv2.INTER_LINEAR
    return as_relevance(
        np.stack([cv2.resize(r, (side, side), interpolation=method) for r in relevance])
    )


def influence_of_maps(
    pictures: Pictures,
    labels: Sequence[str],
    maps: Maps,
    class_maps: Mapping[str, np.ndarray],
    names: Sequence[str],
    seed: int,
) -> pd.DataFrame:
    """Return the table of `image_influence` of all images; arguments as in `explain_row`."""
    found, controls = [], control_shares(maps, pictures.scored, seed)
    for row, image_id in enumerate(map(str, pictures.image_id)):
        own = {method: relevance[row] for method, relevance in maps.items()}
        found += image_influence(
            image_id,
            labels[row],
            own,
            pictures.scored[row],
            {method: float(shares[row]) for method, shares in controls.items()},
            class_maps[image_id],
            names,
        )
    return influence_table(found)


def check_maps(
    probe: Probe,
    pictures: Pictures,
    answer: np.ndarray,
    maps: Maps,
    settings: Settings,
    seed: int,
    misled: Probe | None = None,
) -> pd.DataFrame:
    """Measure whether maps can be trusted.

    All but the pointing game is measured on the first images of a random order only, as it takes
    many answers of the model.

    Args:
        probe: the model.
        pictures: the images.
        answer: the explained class of each, int (n,).
        maps: relevance (n, side, side) by method.
        settings: how much is measured.
        seed: of the order, and of every other random choice.
        misled: the same network trained on random labels, if there is one.

    Returns:
        A row for each method and image, see CHECK_COLUMNS; without label, answer and probability.
    """
    drawn = np.random.default_rng([seed, 2]).permutation(len(pictures))
    rows = np.sort(drawn[: settings.checked_images])
    some, answers = pictures.part(rows), answer[rows]
    errors = probe.completeness(some.image, answers, settings)
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
        if misled is not None:
            other = misled.explainers(settings)[name](some.image, answers)
            measured["similarity_labels"] = similarities(relevance[rows], other)
        if name in errors:
            measured["completeness_error"] = errors[name]
        for column, values in measured.items():
            table.loc[rows, column] = values
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def perturbed(
    probe: Probe,
    pictures: Pictures,
    relevance: np.ndarray,
    answer: np.ndarray,
    settings: Settings,
    seed: int,
) -> dict[str, np.ndarray]:
    """Measure deletion and insertion by each image's own map, and by that of another image.

    The other map is as smooth, and as likely at its places, but knows nothing of the image.

    Args:
        probe: the model.
        pictures: n images.
        relevance: float (n, side, side).
        answer: the explained class of each, int (n,).
        settings: has the number of steps.
        seed: draws the other images, and the order of equally relevant pixels.

    Returns:
        The columns `deletion`, `insertion`, `deletion_other` and `insertion_other`, float64 (n,).
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
    probe: Probe,
    method: str,
    pictures: Pictures,
    relevance: np.ndarray,
    answer: np.ndarray,
    settings: Settings,
    seed: int,
) -> dict[str, list[float]]:
    """Compare each image's map with that of the randomized model.

    Args:
        probe: the model, which is restored in the end.
        method: name of the method that made the maps.
        pictures: n images.
        relevance: float (n, side, side).
        answer: the explained class of each, int (n,).
        settings: of the method.
        seed: of the randomization.

    Returns:
        Rank correlations (n,) by the column of each stage, `similarity_25` to `similarity_100`.
    """
    explain = probe.explainers(settings)[method]
    stages = randomized_maps(probe.layers(), lambda: explain(pictures.image, answer), seed)
    return {
        f"similarity_{stage}": similarities(relevance, found) for stage, found in stages.items()
    }


def similarities(first: np.ndarray, second: np.ndarray) -> list[float]:
    """Return the `similarity` of each pair of maps (n, H, W)."""
    return [similarity(*pair) for pair in zip(first, second, strict=True)]
