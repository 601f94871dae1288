"""The report as one HTML page, without scripts and without requests."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from geoloc.report.answers import answer_families
from geoloc.report.by_country import confusion_section, countries_section
from geoloc.report.citations import references
from geoloc.report.curves import training_plots
from geoloc.report.explanations import explanations_section
from geoloc.report.first_screen import first_screen, run_facts
from geoloc.report.found import found_section
from geoloc.report.licenses import licenses
from geoloc.report.run_details import (
    configuration_section,
    data_section,
    distances_section,
    leakage_section,
    metrics_section,
    pictures,
    software_section,
    sources_section,
)
from geoloc.report.tables import Run
from geoloc.tables import read_table

INDEX_COLUMNS = ["collection", "source", "country", "split"]


def render(
    run: Run,
    study: Mapping[str, Any],
    index: str | Path,
    weights: Mapping[str, Mapping[str, Any]],
) -> str:
    """Make the page of a run.

    Args:
        run: the finished run.
        study: the configuration of the study, with which that of the run is compared.
        index: images.parquet of the index.
        weights: entries of config/weights.yaml, whose licenses the page names.

    Returns:
        HTML. Everything that comes from the run is escaped.
    """
    countries = run.table("countries")
    shown = {
        "run": run,
        "first": first_screen(run),
        "facts": run_facts(run, countries),
        "families": answer_families(run),
        "countries": countries_section(run),
        "confusion": confusion_section(run),
        "sources": sources_section(run),
        "training": training_plots(run, countries),
        "metrics": metrics_section(run),
        "distances": distances_section(run),
        "leakage": leakage_section(run),
        "data": data_section(run, countries, read_table(index, INDEX_COLUMNS)),
        "configuration": configuration_section(run, study),
        "software": software_section(run),
        "citations": references(run.config),
        "licenses": licenses(run.config, run.record["weights"], weights),
        "examples": pictures(run, "examples"),
        "found": found_section(run),
        "explanations": explanations_section(run),
    }
    return environment().get_template("page.html.jinja").render(**shown)


def environment() -> Environment:
    """Return templates that escape everything and fail on unknown names."""
    found = Environment(
        loader=PackageLoader("geoloc.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"percent": percent, "number": number, "duration": duration}
    return found


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share (0–1) in percent; "–" where it is unknown."""
    return "–" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with separators of thousands; "–" where it is unknown, "∞" where infinite."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:,.{digits}f}".replace("-", "−")


def duration(seconds: float | None) -> str:
    """Return seconds as text: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if seconds is None or math.isnan(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"
