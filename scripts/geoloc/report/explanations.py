"""What answers rest on: relevance on scored pixels, and answers without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from geoloc.evaluation.verdict import LEVEL
from geoloc.explain.methods import TITLES
from geoloc.matrix import DEFAULT
from geoloc.report.answers import p_value, points
from geoloc.report.run_details import pictures
from geoloc.report.tables import Run

CONTRAST, KEPT = "removed_vs_control", "kept_vs_control"
CONTRASTS = {CONTRAST: "removed", KEPT: "everything else removed"}
CLASSES = 12  # of objects that are listed
FEW = 5  # images of a class below which it is not listed


def explanations_section(run: Run) -> dict[str, Any] | None:
    """Return influence, cause and faithfulness in sentences, tables and figures; None if not
    explained."""
    if not run.has("influence"):
        return None
    influence, cause, faithfulness = (
        run.table(name, dtype={"seed": str}) for name in ("influence", "cause", "faithfulness")
    )
    keys = ["model", "dataset", "seed", "method"]
    trusted = faithfulness[[*keys, "shown"]]
    trusted = trusted.assign(shown=trusted["shown"].astype(str) == "True")
    influence = influence.merge(trusted, on=keys, how="left")
    whole = influence[influence["group_by"] == "all"]
    contrasts = cause[cause["change"].isin(CONTRASTS)]
    return {
        "influence": [_influence_line(run, line) for line in whole.to_dict("records")],
        "cause": [_cause_line(run, line) for line in contrasts.to_dict("records")],
        "faithfulness": [
            {**line, "row": _row(run, line), "method": TITLES.get(line["method"], line["method"])}
            for line in faithfulness.to_dict("records")
        ],
        "random_labels": faithfulness["similarity_labels"].notna().any(),
        "classes": _classes(run, influence),
        "classes_of": _told_of(run, influence)[1],
        "sentences": _sentences(run, whole, contrasts),
        "figures": pictures(run, "explanations"),
    }


def _row(run: Run, line: dict[str, Any]) -> str:
    seeds = run.config["seeds"] or []
    title = run.row_title(line["model"], line["dataset"])
    return f"{title}, seed {line['seed']}" if len(seeds) > 1 else title


def _influence_line(run: Run, line: dict[str, Any]) -> dict[str, Any]:
    ends = line["excess_low"], line["excess_high"]
    return {
        "row": _row(run, line),
        "method": TITLES.get(line["method"], line["method"]),
        "images": f"{line['images']:,}",
        "area": line["area_share"],
        "relevance": line["relevance_share"],
        "control": line["control_share"],
        "excess": "" if pd.isna(line["excess"]) else points(line["excess"]),
        "interval": "" if pd.isna(ends[0]) else " to ".join(map(points, ends)),
        "says": _more_or_less(line),
        "shown": line["shown"],
    }


def _more_or_less(line: dict[str, Any]) -> str:
    if line["excess_low"] > 0:
        return "more than elsewhere"
    return "less than elsewhere" if line["excess_high"] < 0 else "can’t be told"


def _cause_line(run: Run, line: dict[str, Any]) -> dict[str, Any]:
    return {
        "row": _row(run, line),
        "change": CONTRASTS[line["change"]],
        "fill": line["fill"],
        "images": f"{line['images']:,}",
        "difference": points(line["difference"]),
        "interval": f"{points(line['low'])} to {points(line['high'])}",
        "p_adjusted": p_value(line["p_adjusted"]),
    }


def _classes(run: Run, influence: pd.DataFrame) -> list[dict[str, Any]]:
    """Classes of objects by their ratio, over trusted maps of all rows of `_told_of` together."""
    table, _ = _told_of(run, influence)
    table = table[
        table["shown"].eq(True) & (table["group_by"] == "class") & (table["images"] >= FEW)
    ]
    if table.empty:
        return []
    weighted = table.assign(
        area=table["area_share"] * table["images"],
        relevance=table["relevance_share"] * table["images"],
    )
    sums = weighted.groupby("group")[["area", "relevance", "images"]].sum()
    sums["ratio"] = sums["relevance"] / sums["area"]
    sums = sums.sort_values("ratio", ascending=False, kind="stable").head(CLASSES)
    return [
        {
            "name": name,
            "ratio": line.ratio,
            "area": line.area / line.images,
            "relevance": line.relevance / line.images,
        }
        for name, line in zip(sums.index, sums.itertuples(), strict=True)
    ]


def _sentences(run: Run, influence: pd.DataFrame, contrasts: pd.DataFrame) -> list[str]:
    """What the tables say of the rows of `_told_of`."""
    told, whose = _told_of(run, influence)
    contrasts = contrasts[contrasts["dataset"].isin(told["dataset"])]
    start = f"{whose}: in".capitalize() if whose else "In"
    return [f"{start} {_of_influence(told)}", *_of_cause(contrasts)]


def _told_of(run: Run, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the part of a table about models that were trained on unchanged images, if there are
    any, and their name: on weighted images, little but scored pixels is left to look at. Without
    such models, return the whole table and an empty name."""
    unchanged = [n for n, entry in run.config["datasets"].items() if _is_unchanged(entry)]
    own = table[table["dataset"].isin([*unchanged, DEFAULT])]
    if own.empty:
        return table, ""
    return own, "models that were trained on unchanged images"


def _is_unchanged(entry: Mapping[str, Any]) -> bool:
    return entry.get("curve", "none") == "none" and entry.get("view") != "object"


def _of_influence(table: pd.DataFrame) -> str:
    trusted = table[table["shown"].eq(True)]
    if trusted.empty:
        return f"none of {len(table)} cases the maps of relevance passed their checks."
    above = int((trusted["excess_low"] > 0).sum())
    below = int((trusted["excess_high"] < 0).sum())
    return (
        f"{above} of {len(trusted)} trusted combinations of model and method, scored pixels "
        f"have more relevance than as many at the places of other images’, in {below} less; "
        f"in {len(trusted) - above - below} it can’t be told."
    )


def _of_cause(table: pd.DataFrame) -> list[str]:
    """A sentence for each contrast."""
    actions = {CONTRAST: "Removing scored pixels", KEPT: "Removing everything else"}
    sentences = []
    for change, action in actions.items():
        own = table[table["change"] == change]
        if own.empty:
            continue
        sure = own[own["p_adjusted"] < LEVEL]
        lower, higher = int((sure["difference"] < 0).sum()), int((sure["difference"] > 0).sum())
        sentences.append(
            f"{action} makes the right country less likely than the same at the places of another "
            f"image’s scores in {lower} of {len(own)} comparisons and more likely in {higher}; in "
            f"{len(own) - lower - higher} it can’t be told."
        )
    return sentences
