"""Summarize the answers of a run in two or three sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geoloc.evaluation.answers import family

LEVEL = 0.05  # for adjusted p-values
NEGLIGIBLE = 0.02  # accuracy differences below two points would change nobody's mind

Answers = Sequence[Mapping[str, Any]]


def verdict(answers: Answers) -> str:
    """State what a run says about the question of the study.

    The first sentence says whether showing a model only the telling objects helps. The second says
    how certain that is. In runs with the control, a third says whether the choice of objects
    matters. "It can't be told with this many images" is a verdict, too: no difference is
    significant, and differences that matter could have been missed.

    Args:
        answers: records of answers.json.
    """
    diagonal, choice = family(answers, "diagonal"), family(answers, "choice_of_objects")
    sentences = [_of_objects(diagonal)]
    if diagonal:
        sentences.append(_how_sure(diagonal, family(answers, "baseline")))
    if choice:
        sentences.append(_of_choice(choice))
    return " ".join(sentences)


def _split(found: Answers) -> tuple[Answers, Answers]:
    """Return the answers significantly above zero, and those significantly below."""
    sure = [a for a in found if a["p_adjusted"] < LEVEL]
    return [a for a in sure if a["estimate"] > 0], [a for a in sure if a["estimate"] < 0]


def _of_objects(found: Answers) -> str:
    if not found:
        return (
            "This run can't tell whether it helps to show a model only the telling objects: no "
            "model was trained on both unchanged and weighted images."
        )
    asked, n = "whether showing a model only the telling objects helps", len(found)
    compared = "than on unchanged images"
    if _negligible(found):
        return (
            "Showing a model only the telling objects makes no difference that matters: "
            f"{_the_intervals(n)} below {100 * NEGLIGIBLE:g} points of accuracy either way."
        )
    better, worse = _split(found)
    open_ = n - len(better) - len(worse)
    if better and worse:
        return (
            f"It depends on the model and the weighting {asked}: accuracy is higher {compared} in "
            f"{len(better)} of {n} comparisons and lower in {len(worse)}{_undecided(open_)}."
        )
    if better or worse:
        verb, adjective = ("helps", "higher") if better else ("does not help", "lower")
        return (
            f"Showing a model only the telling objects {verb}: accuracy on weighted images is "
            f"{adjective} {compared} in {_of(len(better or worse), n)}, by "
            f"{_points(better or worse)}{_undecided(open_)}."
        )
    return f"It can't be told with this many images {asked}: {_missed(found)}."


def _how_sure(found: Answers, baseline: Answers) -> str:
    images, seeds = max(a["n"] for a in found), max(a["seeds"] for a in found)
    rows = {tuple(a["key"].split("/")[1:]) for a in found}
    datasets = {dataset for _, *pair in rows for dataset in pair}
    models = {model for model, *_ in rows}
    own = [a for a in baseline if _is_own(a["key"], models, datasets)]
    if own and not _split(own)[0]:
        return (
            f"None of these models is clearly better than always giving the most frequent country "
            f"on the {images:,} test images, so such differences say little."
        )
    training = (
        f"each model was trained with {seeds} seeds, over which the intervals extend"
        if seeds > 1
        else "each model was trained once, so the luck of training is not in the intervals"
    )
    return (
        f"The test set has {images:,} street images, p-values are corrected for the "
        f"{len(found)} comparison{'s' * (len(found) > 1)} (Holm), and {training}."
    )


def _is_own(key: str, models: set[str], datasets: set[str]) -> bool:
    """Whether a key of the family `baseline` is of a model on its own dataset."""
    _, model, dataset, test_set = key.split("/")
    return model in models and dataset in datasets and test_set == dataset


def _of_choice(found: Answers) -> str:
    if _negligible(found):
        return (
            "The choice of objects does not matter: accuracy is the same with another image's "
            f"scores, to within {100 * NEGLIGIBLE:g} points."
        )
    better, worse = _split(found)
    open_, n = len(found) - len(better) - len(worse), len(found)
    against = "with an image's own scores than with those of another image"
    if better and worse:
        return (
            f"The choice of objects matters in both directions: accuracy is higher {against} in "
            f"{len(better)} of {n} comparisons and lower in {len(worse)}{_undecided(open_)}."
        )
    if better:
        return (
            f"The choice of objects matters: accuracy is higher {against} in "
            f"{_of(len(better), n)}, by {_points(better)}{_undecided(open_)}."
        )
    if worse:
        return (
            f"The chosen objects are the wrong ones: accuracy is lower {against} in "
            f"{_of(len(worse), n)}, by {_points(worse)}{_undecided(open_)}."
        )
    return f"Whether the choice of objects matters can't be told: {_missed(found)}."


def _negligible(found: Answers) -> bool:
    return all(a["low"] > -NEGLIGIBLE and a["high"] < NEGLIGIBLE for a in found)


def _missed(found: Answers) -> str:
    images, effect = max(a["n"] for a in found), max(a["smallest_effect"] for a in found)
    none = "the difference is not" if len(found) == 1 else f"none of {len(found)} differences is"
    return (
        f"{none} significant on {images:,} images, and one of {100 * effect:.1f} points could "
        "easily have been missed"
    )


def _of(count: int, n: int) -> str:
    if count == n:
        return "the only comparison" if n == 1 else f"all {n} comparisons"
    return f"{count} of {n} comparisons"


def _the_intervals(n: int) -> str:
    return "its interval is" if n == 1 else f"the intervals of all {n} comparisons are"


def _undecided(count: int) -> str:
    return f"; {count} can't be told" if count else ""


def _points(found: Answers) -> str:
    """Return the range of the sizes of differences, in points of accuracy, and how far their
    intervals reach. All are on the same side of zero."""
    sizes = sorted(abs(100 * a["estimate"]) for a in found)
    low, high = f"{sizes[0]:.1f}", f"{sizes[-1]:.1f}"
    sign = 1 if found[0]["estimate"] > 0 else -1
    ends = sorted(100 * sign * a[end] for a in found for end in ("low", "high"))
    interval = f"{ends[0]:.1f} and {ends[-1]:.1f}"
    intervals = f"interval{'s' * (len(found) > 1)} between {interval}"
    return f"{high if low == high else f'{low} to {high}'} points (95 % {intervals})"
