"""The table of the estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from geoloc.cli.estimate.measured import done_units, measured_bytes, measured_rate
from geoloc.cli.estimate.sizes import sizes_of_index
from geoloc.cli.estimate.stages import Config, Stage

ARRAY_BYTES = {
    "pack_images": 224 * 224 * 3,
    "pack_scores": 224 * 224,
    "pack_crops": 224 * 224 * 3,
}  # of an image


def make_table(
    config: Config,
    stages: Sequence[Stage],
    measured: Path,
    rates: Mapping[str, float],
    sizes_in_bytes: Mapping[str, float],
) -> pd.DataFrame:
    """Return a row per stage.

    `rates` (seconds per unit) and `sizes_in_bytes` (bytes per image) by stage override what was
    measured in the folder `measured`. Hours are the sum over all jobs of a stage. GPU hours are the
    hours of jobs that request a GPU, whatever device they were measured on.

    Returns:
        Columns jobs, units, unit, seconds and bytes per unit, hours, gpu_hours, disk_gb, NaN if
        unknown, and where seconds and bytes come from.
    """
    index = measured / "index"
    sizes = sizes_of_index(index) if (index / "shards.csv").exists() else None
    rows = []
    for stage in stages:
        done = done_units(config, stage, measured, sizes) if sizes else {}
        seconds, size = measured_rate(done), measured_bytes(stage, done, measured)
        jobs_measured = f"{len(done)} finished jobs of {measured}" if done else ""
        row = {
            "stage": stage.name,
            "jobs": stage.jobs,
            "units": stage.units,
            "unit": stage.unit,
            "seconds": rates.get(stage.name, seconds),
            "seconds_from": "option" if stage.name in rates else jobs_measured,
            "gpu": stage.gpu,
        }
        row["bytes"] = sizes_in_bytes.get(stage.name, size)
        row["bytes_from"] = "option" if stage.name in sizes_in_bytes else jobs_measured
        known = ARRAY_BYTES.get(stage.name.partition(".")[0])
        if known and pd.isna(row["bytes"]):
            row["bytes"], row["bytes_from"] = known, "layout"
        row["hours"] = row["seconds"] * stage.units / 3600
        row["gpu_hours"] = row["hours"] if stage.gpu else 0.0
        row["disk_gb"] = row["bytes"] * stage.units / 1e9 if stage.output else 0.0
        rows.append(row)
    return pd.DataFrame(rows)


def totals(table: pd.DataFrame) -> dict[str, float | bool]:
    """Return the sums of what is known, and whether anything is unknown."""
    working = table[table.units > 0]
    return {
        "jobs": int(table.jobs.sum()),
        "hours": float(table.hours.sum()),
        "gpu_hours": float(table.gpu_hours.sum()),
        "disk_gb": float(table.disk_gb.sum()),
        "hours_complete": bool(working.hours.notna().all()),
        "gpu_hours_complete": bool(working.gpu_hours.notna().all()),
        "disk_complete": bool(working.disk_gb.notna().all()),
    }


def format_table(table: pd.DataFrame, total: dict) -> str:
    """Format the table for the terminal."""

    def cell(value: float, form: str, known: bool = True) -> str:
        if pd.isna(value) or not (known or value):
            return "unknown"
        return ("" if known else "> ") + format(value, form)

    works = table.units > 0
    shown = pd.DataFrame({"stage": table.stage, "jobs": table.jobs.map("{:,}".format)})
    shown["work"] = [f"{row.units:,} {row.unit}" if row.units else "" for row in table.itertuples()]
    shown["s each"] = [cell(v, ".4g") if w else "" for v, w in zip(table.seconds, works)]  # noqa: B905
    for column, title in (("hours", "hours"), ("gpu_hours", "GPU hours"), ("disk_gb", "disk GB")):
        used = works & ((table[column] != 0) | table[column].isna())
        shown[title] = [cell(v, ",.1f") if u else "" for v, u in zip(table[column], used)]  # noqa: B905
    shown.loc[len(shown)] = [
        "total",
        f"{total['jobs']:,}",
        "",
        "",
        cell(total["hours"], ",.1f", total["hours_complete"]),
        cell(total["gpu_hours"], ",.1f", total["gpu_hours_complete"]),
        cell(total["disk_gb"], ",.1f", total["disk_complete"]),
    ]
    return shown.to_string(index=False)
