"""Answers to the study's questions, computed from a run's predictions.

The settings of a run's datasets and models decide which questions it can answer: a control is a
dataset that differs from another one only in the key in question.

`geoloc.evaluation.verdict` summarizes the answers in words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pandas as pd

from geoloc.errors import InputError
from geoloc.evaluation.comparisons import (
    Estimate,
    difference_of_groups,
    holm,
    paired_difference,
    share,
)
from geoloc.evaluation.evidence import UNCHANGED, Evidence
from geoloc.files import write_text
from geoloc.matrix import DEFAULT, ROOMS, is_trained

Answer = tuple[str, str, Estimate]  # key, question, result
COLUMNS = (
    "key", "family", "question", "estimate", "low", "high", "n", "seeds", "p_value", "p_adjusted",
    "smallest_effect", "method",
)  # fmt: skip


def answers(evidence: Evidence) -> pd.DataFrame:
    """Answer every question that a run has the rows for.

    Returns:
        One row per question with the columns `COLUMNS`; accuracies are in 0–1 and differences in
        −1…1. `p_adjusted` is corrected within the family (Holm 1979). `estimate` is positive if the
        answer is yes. Plain accuracies, which compare nothing, have no p-value.

    Raises:
        InputError: if compared rows have different images or seeds.
    """
    rows = []
    for family, ask in FAMILIES.items():
        found = list(ask(evidence))
        adjusted = holm([estimate.p_value for _, _, estimate in found])
        rows += [
            {
                "key": f"{family}/{key}",
                "family": family,
                "question": question,
                **asdict(estimate),
                "p_adjusted": float(p),
            }
            for (key, question, estimate), p in zip(found, adjusted, strict=True)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of `answers` for JSON, with None instead of NaN."""
    return [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in table.to_dict("records")
    ]


def write_json(path: str | Path, table: pd.DataFrame) -> None:
    """Write the rows of `answers` as a JSON list of objects, whole or not at all."""
    write_text(path, json.dumps(as_records(table), indent=1, ensure_ascii=False) + "\n")


def near_duplicate_ids(
    leakage: pd.DataFrame, near_duplicate_bits: int, tested: Collection[str] = ()
) -> frozenset[str]:
    """Return the ids of the test images in a `leakage_table` that are near-duplicates.

    Their 64-bit perceptual hashes differ from that of a training image in at most
    `near_duplicate_bits`.

    Args:
        leakage: the table.
        near_duplicate_bits: see above.
        tested: ids of images that the table must have.

    Raises:
        InputError: if it lacks one of them, which would count as no near-duplicate.
    """
    if missing := set(tested) - set(leakage["image_id"]):
        raise InputError(
            f"the table of leakage has no row for {min(missing)}, one of {len(missing)} tested "
            "images; delete the run's leakage.csv and run snakemake again"
        )
    near = (leakage["split"] == "test") & (leakage["bits"] <= near_duplicate_bits)
    return frozenset(leakage.loc[near, "image_id"])


def _own(e: Evidence, first: str, second: str, question: str) -> Iterator[Answer]:
    """Compare each model trained and tested on dataset `first` with the same on `second`.

    `question` has the fields model, first and second.
    """
    titles = {"first": e.dataset(first), "second": e.dataset(second)}
    for model in e.models:
        if found := e.paired((model, first, first), (model, second, second)):
            asked = question.format_map(titles | {"model": e.model(model)})
            yield _slash(model, first, second), asked, found


def _slash(*names: str) -> str:
    return "/".join(names)


def _twins(e: Evidence, key: str, usual: Any) -> Iterator[tuple[str, str]]:
    """Yield datasets that differ only in `key`: one with the usual value, one with another."""
    for name, other in permutations(e.datasets, 2):
        ours, theirs = (dict(e.datasets[n]) for n in (name, other))
        values = ours.pop(key, usual), theirs.pop(key, usual)
        if ours == theirs and values[0] == usual != values[1]:
            yield name, other


def _is_control(settings: Mapping[str, Any]) -> bool:
    """Whether a dataset shows anything other than the objects of its own images."""
    return settings.get("scores_of", "self") != "self" or bool(settings.get("invert"))


def _diagonal(e: Evidence) -> Iterator[Answer]:
    question = "Is {model} more accurate if trained and tested on {first} than on {second} images?"
    for name, settings in e.datasets.items():
        if e.unchanged and settings != UNCHANGED and not _is_control(settings):
            yield from _own(e, name, e.unchanged, question)


def _choice_of_objects(e: Evidence) -> Iterator[Answer]:
    question = (
        "Is {model} more accurate with the right objects ({first}) than if as much is hidden in "
        "the wrong places ({second})?"
    )
    for name, other in _twins(e, "scores_of", "self"):
        yield from _own(e, name, other, question)


def _loss_of_information(e: Evidence) -> Iterator[Answer]:
    question = "Is {model} more accurate if images are hidden in places ({first}) than on {second}?"
    for name, settings in e.datasets.items():
        if e.unchanged and settings.get("scores_of", "self") != "self":
            yield from _own(e, name, e.unchanged, question)


def _inverted(e: Evidence) -> Iterator[Answer]:
    question = "Is {model} more accurate with the objects ({first}) than with all else ({second})?"
    for name, other in _twins(e, "invert", False):
        yield from _own(e, name, other, question)


def _fills(e: Evidence) -> Iterator[Answer]:
    question = (
        "Is {model} more accurate if the background is {fill} ({first}) than if it is black "
        "({second})?"
    )
    words = {"blur": "blurred", "mean": "filled with the mean color"}
    for black, other in _twins(e, "fill", "black"):
        fill = e.datasets[other]["fill"]
        asked = question.replace("{fill}", words.get(fill, fill))
        yield from _own(e, other, black, asked)


def _score_maps(e: Evidence) -> Iterator[Answer]:
    """Compare with the first dataset each later one that differs only in its score maps."""
    question = "Is {model} better with the score maps of {first} than with those of {second}?"
    compared = set()
    for first, other in combinations(e.datasets, 2):
        ours, theirs = (dict(e.datasets[name]) for name in (first, other))
        maps = ours.pop("scores", None), theirs.pop("scores", None)
        alike = ours == theirs and None not in maps and maps[0] != maps[1]
        if alike and other not in compared and not _is_control(ours):
            compared.add(other)
            yield from _own(e, other, first, question)


def _differ_in_preprocessing(e: Evidence, first: str, second: str) -> bool:
    ours, theirs = (dict(e.models[name]) for name in (first, second))
    values = ours.pop("preprocessing", None), theirs.pop("preprocessing", None)
    return None not in values and values[0] != values[1] and ours == theirs


def _is_classifier(entry: Mapping[str, Any]) -> bool:
    return ROOMS[entry["kind"]] == "keras_models"


def _is_contrastive(entry: Mapping[str, Any]) -> bool:
    """Whether the workflow trains a model on images and texts."""
    return ROOMS[entry["kind"]] == "image_text" and is_trained(entry)


def _contrastive_and_classifier(e: Evidence, first: str, second: str) -> bool:
    return _is_contrastive(e.models[first]) and _is_classifier(e.models[second])


def _against(e: Evidence, first: str, second: str) -> Iterator[Answer]:
    """Compare two models wherever both were trained on the same images, and test on these.

    Rows trained on unchanged images are also tested on photos.
    """
    trained = [
        {e.own_test_set(d): d for m, d in e.rows() if m == model} for model in (first, second)
    ]
    for shown, dataset in trained[0].items():
        if shown is None or shown not in trained[1]:
            continue
        for test_set in [shown, *(e.photographs if shown == e.unchanged else [])]:
            sides = (first, dataset, test_set), (second, trained[1][shown], test_set)
            if found := e.paired(*sides):
                question = (
                    f"Is {e.model(first)} more accurate than {e.model(second)} on "
                    f"{e.test_set(test_set)}, both trained on {e.dataset(shown)} images?"
                )
                yield _slash(first, second, shown, test_set), question, found


def _preprocessing(e: Evidence) -> Iterator[Answer]:
    for first, second in combinations(e.models, 2):
        if _differ_in_preprocessing(e, first, second):
            published = e.models[first]["preprocessing"] == "rescale"
            yield from _against(e, *((second, first) if published else (first, second)))


def _contrastive(e: Evidence) -> Iterator[Answer]:
    for first, second in permutations(e.models, 2):
        if _contrastive_and_classifier(e, first, second):
            yield from _against(e, first, second)


def _models(e: Evidence) -> Iterator[Answer]:
    """Compare pairs of models that no other family compares, each by its main row."""
    for (first, trained), (second, other) in combinations(e.main_rows(), 2):
        if (
            first == second
            or _differ_in_preprocessing(e, first, second)
            or _contrastive_and_classifier(e, first, second)
            or _contrastive_and_classifier(e, second, first)
        ):
            continue
        for test_set in filter(None, [e.unchanged, *e.photographs]):
            if found := e.paired((first, trained, test_set), (second, other, test_set)):
                question = (
                    f"Is {e.model(first)} more accurate than {e.model(second)} on "
                    f"{e.test_set(test_set)}?"
                )
                yield _slash(first, second, test_set), question, found


def _sources(e: Evidence) -> Iterator[Answer]:
    """Compute accuracy by source of the street images, and whether sources differ."""
    for model, dataset in e.main_rows():
        if (right := e.right(model, dataset, e.unchanged)) is None:
            continue
        source = e.images[e.unchanged]["source"].loc[right.index]
        parts = {name: right[source == name] for name in dict.fromkeys(source)}
        if len(parts) < 2:
            continue
        for name, part in parts.items():
            question = f"How accurate is {e.model(model)} on street images of {name}?"
            yield _slash(model, name), question, share(part, e.authors, e.seed)
        for first, second in combinations(parts, 2):
            question = f"Is {e.model(model)} more accurate on images of {first} than of {second}?"
            found = difference_of_groups(parts[first], parts[second], e.authors, e.seed)
            yield _slash(model, first, second), question, found


def _baseline(e: Evidence) -> Iterator[Answer]:
    for model, dataset in e.rows():
        for test_set in filter(None, [e.own_test_set(dataset), *e.photographs]):
            if (right := e.right(model, dataset, test_set)) is None:
                continue
            majority = (e.images[test_set]["label"] == e.majority).loc[right.index]
            found = paired_difference(right, majority.to_frame(), e.authors, e.seed)
            trained = "" if dataset == DEFAULT else f", trained on {e.dataset(dataset)} images,"
            question = (
                f"Is {e.model(model)}{trained} more accurate on {e.test_set(test_set)} than "
                "always giving the most frequent country of the training images?"
            )
            yield _slash(model, dataset, test_set), question, found


def _near_duplicates(e: Evidence) -> Iterator[Answer]:
    """Yield accuracy on all images and on those without a near-duplicate in training.

    Also test whether images with one differ from the others.
    """
    for model, dataset in e.main_rows():
        for test_set in filter(None, [e.unchanged, *e.photographs]):
            if (right := e.right(model, dataset, test_set)) is None:
                continue
            name, on = e.model(model), e.test_set(test_set)
            near = right.index.isin(e.near_duplicates)
            all_images = share(right, e.authors, e.seed)
            yield _slash(model, test_set, "all"), f"How accurate is {name} on {on}?", all_images
            if near.all() or not near.any():
                continue
            question = f"How accurate is {name} on {on} that have no near-duplicate in training?"
            without = share(right[~near], e.authors, e.seed)
            yield _slash(model, test_set, "without"), question, without
            question = (
                f"Is {name} more accurate on {on} that have a near-duplicate in training than on "
                "the others?"
            )
            found = difference_of_groups(right[near], right[~near], e.authors, e.seed)
            yield _slash(model, test_set, "difference"), question, found


FAMILIES: dict[str, Callable[[Evidence], Iterator[Answer]]] = {
    "diagonal": _diagonal,
    "choice_of_objects": _choice_of_objects,
    "loss_of_information": _loss_of_information,
    "inverted": _inverted,
    "fills": _fills,
    "score_maps": _score_maps,
    "preprocessing": _preprocessing,
    "contrastive": _contrastive,
    "models": _models,
    "sources": _sources,
    "baseline": _baseline,
    "near_duplicates": _near_duplicates,
}
"""The questions of each family, whose p-values are corrected together."""


def family(records: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Return the comparisons of a family."""
    return [a for a in records if a["family"] == name and a["p_adjusted"] is not None]
