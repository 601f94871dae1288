"""Paths in the configuration."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

from geoloc.config.entries import MATRIX

PATH_KEYS = ("weights", "path", "classes", "file", "gallery")
"""Keys of matrix entries that are paths."""
FOLDER_KEYS = ("path",)  # of these, the ones that are folders

OWN_FOLDERS = [("config",), ("demo",), ("containers",)]  # of files that come with the project


def files_of(entry: dict) -> list[str]:
    """Return the files and folders that a segmentation or model is loaded from."""
    parts = (entry, entry.get("classifier", {}))
    return [part[key] for part in parts for key in PATH_KEYS if part.get(key)]


def path_mistakes(config: dict) -> Iterator[str]:
    """Return paths with braces, which Snakemake would take for wildcards, or with ~, which only
    shells replace."""
    sections = ("sources", "test_sets", *MATRIX)
    for place, entry in ((f"{s}.{name}", e) for s in sections for name, e in config[s].items()):
        parts = {place: entry or {}, f"{place}.classifier": (entry or {}).get("classifier") or {}}
        for name, part in parts.items():
            for key in PATH_KEYS:
                path = part.get(key) or ""
                if set("{}") & set(path):
                    yield (
                        f"{name}.{key}: {path} has braces, which Snakemake takes for a wildcard; "
                        "rename it, or give a link to it"
                    )
                if path.startswith("~"):
                    yield f"{name}.{key}: ~ is not replaced, got {path}; write the whole path"


def place_paths(config: dict, root: Path, place: Callable[[str], str]) -> dict:
    """Copy a checked configuration, with paths as seen by a workflow that uses this as a module.

    Args:
        config: the configuration.
        root: folder of the project. The project's own files (class list, weights of the demo,
            containers) are taken from there if the working folder does not have them.
        place: returns a path inside the module's prefix.
    """
    config = copy.deepcopy(config)

    def move(entry: dict, key: str, place: Callable[[str], str] = place) -> None:
        if entry.get(key):
            moved, own = place(entry[key]), root / entry[key]
            shipped = Path(entry[key]).parts[:1] in OWN_FOLDERS and own.exists()
            entry[key] = str(own) if shipped and not Path(moved).exists() else moved

    for source in (*config["sources"].values(), *config["test_sets"].values()):
        if source:
            move(source, "path")
            move(source, "file")
    for section in MATRIX:
        for entry in config[section].values():
            for part in (entry, entry.get("classifier", {})):
                for key in PATH_KEYS:
                    move(part, key)
    for name in config["containers"]:
        move(config["containers"], name, str)  # Snakemake adds no prefix to images
    return config
