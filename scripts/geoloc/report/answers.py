"""The answers of a run as forest plots: one table a family, a line for each interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from geoloc.evaluation.answers import FAMILIES
from geoloc.evaluation.verdict import LEVEL
from geoloc.report.first_screen import read_answers
from geoloc.report.tables import Run

TITLES = {
    "diagonal": "Does dimming everything except the objects help?",
    "choice_of_objects": "Does the choice of objects matter?",
    "loss_of_information": "What does hiding parts of the image cost?",
    "inverted": "Do the objects tell more than everything else?",
    "fills": "Does another background help?",
    "score_maps": "Does it matter what finds and names the objects?",
    "preprocessing": "What does the input of the transfer model cost?",
    "contrastive": "Are captions better than classes?",
    "models": "Which model is better?",
    "sources": "Does accuracy depend on the source of the images?",
    "baseline": "Is a model better than always giving the most frequent country?",
    "near_duplicates": "How accurate is a model without near-duplicates?",
}
"""What each family of answers asks, in one line."""
OPEN = ("diagonal", "choice_of_objects", "inverted")  # the question of the study
WIDTH, MARGIN = 160, 16  # of the plot of a line, in pixels; the margins hold half a label


@dataclass(frozen=True)
class Scale:
    """From a value to a horizontal position in a plot `WIDTH` wide, with its ticks."""

    low: float
    high: float
    ticks: list[float]
    width: int = WIDTH

    def x(self, value: float) -> float:
        inner = WIDTH - 2 * MARGIN
        return round(MARGIN + inner * (value - self.low) / (self.high - self.low), 1)


@dataclass(frozen=True)
class Line:
    """An answer: numbers as text in percent or points, and the x of estimate and interval."""

    question: str
    estimate: str
    interval: str
    p_value: str
    p_adjusted: str
    smallest_effect: str
    n: str
    seeds: int
    method: str
    says: str
    x: float
    x_low: float
    x_high: float


def scale(records: Sequence[dict[str, Any]], zero: bool) -> Scale:
    """Return a scale in percent that holds every interval, and zero where it is a difference."""
    ends = [100 * record[key] for record in records for key in ("low", "high", "estimate")]
    ends = [*ends, 0.0] if zero else ends
    low, high = min(ends), max(ends)
    if low == high:
        low, high = low - 1, high + 1
    ticks = [float(t) for t in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)]
    return Scale(min(low, ticks[0]), max(high, ticks[-1]), ticks)


def answer_families(run: Run) -> list[dict[str, Any]]:
    """Return the families in their order, each with its lines; comparisons and shares on scales of
    their own.

    Raises:
        FileError: if answers.json is missing or damaged.
    """
    found = []
    records = read_answers(run.files["records"])
    for family in FAMILIES:
        own = [record for record in records if record["family"] == family]
        parts = []
        for difference in (True, False):
            part = [r for r in own if (r["p_adjusted"] is not None) == difference]
            if part:
                axis = scale(part, difference)
                lines = [_line(record, axis, difference) for record in part]
                parts.append({"difference": difference, "axis": axis, "lines": lines})
        if parts:
            found.append(
                {
                    "key": family,
                    "title": TITLES.get(family, family),
                    "parts": parts,
                    "open": family in OPEN,
                    "tests": sum(r["p_adjusted"] is not None for r in own),
                    "sure": sum(_is_sure(r) for r in own),
                    "methods": list(dict.fromkeys(r["method"] for r in own)),
                }
            )
    return found


def _is_sure(record: dict[str, Any]) -> bool:
    return record["p_adjusted"] is not None and record["p_adjusted"] < LEVEL


def _line(record: dict[str, Any], axis: Scale, difference: bool) -> Line:
    sign = "+" if difference else ""
    low, high = (_number(record[key], sign) for key in ("low", "high"))
    return Line(
        question=record["question"],
        estimate=_number(record["estimate"], sign),
        interval=f"{low} to {high}",
        p_value=p_value(record["p_value"]),
        p_adjusted=p_value(record["p_adjusted"]),
        smallest_effect=_number(record["smallest_effect"], ""),
        n=f"{record['n']:,}",
        seeds=record["seeds"],
        method=record["method"],
        says=_says(record) if difference else "",
        x=axis.x(100 * record["estimate"]),
        x_low=axis.x(100 * record["low"]),
        x_high=axis.x(100 * record["high"]),
    )


def _says(record: dict[str, Any]) -> str:
    if not _is_sure(record):
        return "can't be told"
    return "yes" if record["estimate"] > 0 else "no: lower"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return _number(difference, "+")


def _number(value: float | None, sign: str) -> str:
    """A share or difference in percent, with a true minus sign."""
    if value is None or math.isnan(value):
        return ""
    return f"{100 * value:{sign}.1f}".replace("-", "−")


def p_value(value: float | None) -> str:
    """Return a p-value with three decimals."""
    if value is None or math.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
