"""Entries of the matrix in the configuration: what they inherit, and their titles."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

from geoloc.config.errors import shown

# Sections of entries with names of the user's choice; an entry set to null is skipped.
MATRIX = ("segmentations", "scores", "datasets", "models")


def complete_study_entries(config: dict, schema: dict) -> None:
    """Add missing keys to entries that have the name and kind of one of the study's.

    A workflow that uses this one as a module does not merge config/config.yaml.
    """
    for section in MATRIX:
        default, entries = schema["properties"][section]["default"], config.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            study = default.get(name, {})
            if isinstance(entry, dict) and entry.get("kind", study.get("kind")) == study.get(
                "kind"
            ):
                entries[name] = _merged(study, entry)


def _merged(defaults: dict, values: dict) -> dict:
    """Return `values` on top of `defaults`, in the order of `values`, also in nested mappings."""
    result = dict(values)
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            same_kind = value.get("kind", default.get("kind")) == default.get("kind")
            result[key] = _merged(default, value) if same_kind else value
    return result | {k: copy.deepcopy(v) for k, v in defaults.items() if k not in values}


def complete_likes(config: dict, schema: dict) -> list[str]:
    """Give each entry that is `like` another one the keys that it doesn't have.

    Returns:
        Mistakes.
    """
    lines = []
    for section in MATRIX:
        entries = config.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if not isinstance(entry, dict) or "like" not in entry:
                continue
            other = entries.get(entry["like"]) if isinstance(entry["like"], str) else None
            if not isinstance(other, dict) or "like" in other or other is entry:
                known = [n for n, e in entries.items() if isinstance(e, dict) and "like" not in e]
                lines.append(
                    f"{section}.{name}.like: must be an entry without like, got "
                    f"{shown(entry['like'])}; write one of {', '.join(known)}"
                )
                continue
            if name in schema["properties"][section]["default"]:
                lines.append(
                    f"{section}.{name}.like: {name} is an entry of the study and has keys of its "
                    "own; give your entry another name"
                )
                continue
            own = {key: value for key, value in entry.items() if key != "like"}
            entries[name] = copy.deepcopy(other) | own
    return lines


def set_titles(config: dict) -> None:
    """Give each model without a title its default."""
    for name, entry in config["models"].items():
        entry["title"] = entry["title"] or _model_title(name, entry)


def _model_title(name: str, entry: dict) -> str:
    """Return the title of a model that has none in the configuration."""
    if entry["kind"] == "geoclip":
        return "GeoCLIP"
    if entry["kind"] != "clip":
        return name
    if not entry["path"]:
        return "CLIP (trained here)"
    folder = Path(entry["path"]).name
    return "StreetCLIP" if folder == "streetclip" else folder


def order_entries(config: dict, first: Mapping) -> None:
    """Put the entries that are also in `first` before the others, in its order, in place.

    Snakemake puts the keys of a file given with --configfile before those of config/config.yaml,
    but the published rows and columns of Table 1 come first.
    """
    for section in (*MATRIX, "test_sets"):
        entries = config[section]
        names = dict.fromkeys([*(n for n in first[section] if n in entries), *entries])
        ordered = {name: entries[name] for name in names}
        entries.clear()
        entries.update(ordered)
