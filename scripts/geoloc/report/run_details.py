"""What was run: images, configuration, stages and software."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from PIL import Image

from geoloc.countries.names import display_name
from geoloc.report.tables import Run

MAX_WIDTH = 1400  # pixels of an embedded picture
QUALITY = 80
NEAR_SHARE = 0.01  # share of near-duplicates in a test set that deserves a warning
PACKAGES = ("torch", "tensorflow", "keras", "transformers", "numpy", "pandas", "scipy", "sklearn",
            "PIL", "cv2", "h5py", "pyarrow", "snakemake")  # fmt: skip
EXAMPLES = 3  # quarantined images that are named


def picture(path: str | Path) -> dict[str, Any]:
    """Return a picture as a data URI of WebP, at most `MAX_WIDTH` wide, with its size in pixels."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        if image.width > MAX_WIDTH:
            image = image.resize((MAX_WIDTH, round(image.height * MAX_WIDTH / image.width)))
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=QUALITY, method=4)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"uri": f"data:image/webp;base64,{text}", "width": image.width, "height": image.height}


def pictures(run: Run, kind: str) -> dict[str, dict[str, Any]]:
    """Return the pictures of a kind (examples, found, explanations) by the rest of their name."""
    return {
        name.removeprefix(f"{kind}/"): picture(path)
        for name, path in run.files.items()
        if name.startswith(f"{kind}/")
    }


def data_section(run: Run, countries: pd.DataFrame, index: pd.DataFrame) -> dict[str, Any]:
    """Return images by country and split, by source and split, and those that were excluded."""
    kept = countries[countries["kept"].astype(str) == "True"]
    kept = kept.sort_values("images", ascending=False, kind="stable")
    used = index[index["country"].isin(kept["country"])]
    counts = used.groupby(["collection", "source", "split"]).size().unstack(fill_value=0)
    sources = [
        {
            "collection": collection,
            "source": _title(run, source),
            **{split: f"{row.get(split, 0):,}" for split in ("train", "val", "test")},
        }
        for (collection, source), row in counts.iterrows()
    ]
    excluded = run.table("quarantine")
    reasons = excluded.groupby(["source", "reason"], sort=False)["path"].agg(["size", list])
    return {
        "countries": [
            {"name": display_name(line.country), "code": line.country, "train": f"{line.train:,}",
             "val": f"{line.val:,}", "test": f"{line.test:,}", "images": f"{line.images:,}"}
            for line in kept.itertuples()
        ],
        "dropped": int((countries["kept"].astype(str) != "True").sum()),
        "minimum": run.config["index"]["min_images"],
        "sources": sources,
        "excluded": len(excluded),
        "reasons": [
            {"source": _title(run, source), "reason": reason, "n": f"{row['size']:,}",
             "examples": ", ".join(str(path) for path in row["list"][:EXAMPLES])}
            for (source, reason), row in reasons.iterrows()
        ],
    }  # fmt: skip


def _title(run: Run, source: str) -> str:
    entry = run.config["sources"].get(source) or run.config["test_sets"].get(source) or {}
    return entry.get("title") or source


def sources_section(run: Run) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the accuracy on the images of each source, if there are several: the mean over seeds.

    The lines are grouped by test set of street images, in the order of the columns of Table 1.
    """
    table = run.table("by_source")
    street = table[table["test_set"].isin(run.config["datasets"])]
    if street["source"].nunique() < 2:
        return []
    keys = ["model", "dataset", "test_set", "source"]
    means = street.groupby(keys, sort=False)[["n", "accuracy"]].mean().reset_index()
    sources = list(dict.fromkeys(means["source"]))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in run.columns}
    for (model, dataset, test_set), part in means.groupby(keys[:3], sort=False):
        own = part.set_index("source")
        cells = [
            (f"{100 * own.loc[s, 'accuracy']:.1f}", f"{own.loc[s, 'n']:,.0f}")
            if s in own.index
            else ("", "")
            for s in sources
        ]
        line = {
            "row": run.row_title(model, dataset),
            "cells": cells,
            "sources": [_title(run, s) for s in sources],
        }
        found.setdefault(test_set, []).append(line)
    return [(run.test_set(test_set), lines) for test_set, lines in found.items() if lines]


def leakage_section(run: Run) -> dict[str, Any]:
    """Return near-duplicates and near places of validation and test images, with a warning."""
    table = run.table("leakage")
    tested = table[table["split"] == "test"]
    warned = tested[tested["near_duplicate_share"] > NEAR_SHARE]
    titles = {name: _title(run, name) for name in table["collection"]} | {"street": "Street images"}
    of = {name: f"photos of {title}" for name, title in titles.items()}
    of["street"] = "street test images"
    return {
        "lines": [{"title": titles[r["collection"]], **r} for r in table.to_dict("records")],
        "warnings": [
            (
                of[line.collection],
                f"{100 * line.near_duplicate_share:.1f}",
                f"{line.near_duplicates:,} of {line.images:,}",
            )
            for line in warned.itertuples()
        ],
    }


def metrics_section(run: Run) -> list[dict[str, Any]]:
    """Return every measure of metrics.csv, a group a test set."""
    table = run.table("metrics")
    return [
        {
            "test_set": run.test_set(test_set),
            "n": f"{part['n'].iloc[0]:,}",
            "located": int(part["n_located"].iloc[0]),
            "lines": [
                {"row": run.row_title(line["model"], line["dataset"]), **line}
                for line in part.to_dict("records")
            ],
        }
        for test_set, part in table.groupby("test_set", sort=False)
    ]


def distances_section(run: Run) -> list[dict[str, Any]]:
    """Return the distances of this run next to published ones; empty if nothing is published."""
    if not run.has("distances"):
        return []
    table = run.table("distances")
    table["trained_on"] = table["trained_on"].fillna("")
    return [
        {**line, "test_set": run.test_set(line["test_set"])} for line in table.to_dict("records")
    ]


def configuration_section(run: Run, study: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration as YAML, and first where it is not the study's."""
    changed = [
        {"key": key, "here": _at(run.config, key), "study": _at(study, key)}
        for key in run.differences
    ]
    text = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
    return {"changed": changed, "yaml": text}


def _at(config: Mapping[str, Any], key: str) -> str:
    """A value by its dotted key, as YAML on one line."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return "not set"
        value = value[part]
    if isinstance(value, Mapping):
        return "set"
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n...\n").strip()


def software_section(run: Run) -> dict[str, Any]:
    """Return code, machine, stages and the versions of packages that change results."""
    versions: dict[str, list[str]] = {}
    for stage in run.record["software_of_stages"].values():
        for name, version in stage["packages"].items():
            if version not in versions.setdefault(name, []):
                versions[name].append(version)
    shown = [(name, ", ".join(versions[name])) for name in PACKAGES if name in versions]
    others = [(n, ", ".join(v)) for n, v in sorted(versions.items()) if n not in PACKAGES]
    told = run.record["software_of_stages"].values()
    devices = [device for stage in told for device in stage["devices"]]
    # Without their names: the page is for readers elsewhere.
    machines = [each.partition(": ")[2] for stage in told for each in stage.get("machines", [])]
    stages = sorted(run.record["stages"], key=lambda stage: -(stage["wall_s"] or 0))
    return {
        "record": run.record,
        "packages": shown,
        "others": others,
        "devices": list(dict.fromkeys(devices)),
        "machines": list(dict.fromkeys(machines)),
        "stages": stages,
        "wall_s": sum(stage["wall_s"] or 0 for stage in stages),
    }
