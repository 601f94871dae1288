"""What a segmentation found: classes of objects, and how much of an image stays visible."""

from __future__ import annotations

from typing import Any

from geoloc.countries.names import display_name
from geoloc.report.run_details import pictures
from geoloc.report.tables import Run

ALL = "all"  # countries together
CLASSES = 15  # that are listed
NAMED = 5  # in the sentence


def found_section(run: Run) -> dict[str, Any] | None:
    """Return classes, countries and visible shares of each score map; None without tables."""
    if not run.has("found_classes"):
        return None
    classes, countries, visible = (
        run.table(f"found_{name}") for name in ("classes", "countries", "visible")
    )
    visible = visible[visible["country"] == ALL]
    parts = []
    for name, own in classes.groupby("scores", sort=False):
        places = countries[countries["scores"] == name].to_dict("records")
        selected = own[own["selected"].astype(str) == "True"]
        parts.append(
            {
                "name": name,
                "sentence": _sentence(own, selected, places),
                "classes": selected.head(CLASSES).to_dict("records"),
                "countries": [
                    {"title": display_name(line["country"]), **line}
                    for line in places
                    if line["country"] != ALL
                ],
                "visible": [
                    {"title": run.dataset(line["dataset"]), **line}
                    for line in visible[visible["scores"] == name].to_dict("records")
                ],
            }
        )
    return {"parts": parts, "figures": pictures(run, "found")}


def _sentence(classes: Any, selected: Any, places: list[dict[str, Any]]) -> str:
    whole = next(line for line in places if line["country"] == ALL)
    names = ", ".join(selected["class"].head(NAMED))
    return (
        f"In {whole['images']:,} images, {whole['segments_per_image']:.1f} segments an image were "
        f"found. {len(selected)} of the {len(classes)} classes that occur are selected"
        + (f", most often {names}" if names else "")
        + f". Scored pixels cover {100 * whole['scored_share']:.1f} % of an image "
        f"(95 % interval {100 * whole['scored_share_low']:.1f}–"
        f"{100 * whole['scored_share_high']:.1f})."
    )
