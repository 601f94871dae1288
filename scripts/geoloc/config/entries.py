"""Entries of the matrix in the configuration: what they inherit, and their titles."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

from geoloc.config.errors import shown
from geoloc.config.schema import resolve

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


def order_entries(config: dict, first: Mapping, schema: dict) -> None:
    """Put all keys of a checked configuration in one order, in place, whatever files they are from.

    Snakemake puts the keys of a file given with --configfile before those of config/config.yaml.
    But the published rows and columns of Table 1 come first, and jobs run again if the order of
    keys in a parameter changes: a key that moves from one file to another would repeat `segment`.

    Entries that are also in `first` come before the others, in its order, except sources. The keys
    of an entry have the order of `first`, then of the schema.
    """
    ordered = _ordered(config, first, schema, schema)
    ordered["sources"] = {name: ordered["sources"][name] for name in config["sources"]}
    config.clear()
    config.update(ordered)


def _ordered(value: object, first: object, schema: dict, root: dict) -> object:
    """Return a value with its keys in the order of `first`, then of its schema."""
    if not isinstance(value, dict):
        return value
    schema, first = resolve(schema, root, value), first if isinstance(first, Mapping) else {}
    known, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
    names = dict.fromkeys(name for name in (*first, *known, *value) if name in value)
    return {n: _ordered(value[n], first.get(n), known.get(n, others), root) for n in names}
