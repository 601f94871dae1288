"""Paths in the configuration."""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from geoloc.config.entries import MATRIX

PATH_KEYS = ("weights", "path", "classes", "file", "gallery")
"""Keys of matrix entries that are paths."""
FOLDER_KEYS = ("path",)  # of these, the ones that are folders

# What Snakemake may take for wildcards and path variables in the inputs and outputs of rules.
REPLACED = re.compile(r"\{.*\}|<.*>")

OWN_FOLDERS = [("config",), ("demo",), ("containers",)]  # of files that come with the project


def files_of(entry: dict) -> list[str]:
    """Return the files and folders that a segmentation or model is loaded from."""
    parts = (entry, entry.get("classifier", {}))
    return [part[key] for part in parts for key in PATH_KEYS if part.get(key)]


def replaced_part(path: str | Path) -> str:
    """Return the part of a path that Snakemake may replace, such as `{old}`; empty if none."""
    found = REPLACED.search(str(path))
    return found[0] if found else ""


def link_name(path: str | Path) -> str:
    """Return a name for a link to `path` of which Snakemake replaces nothing."""
    digest = hashlib.sha256(os.path.abspath(path).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{digest[:12]}-{re.sub('[{}<>]', '_', Path(path).name)}"


def set_link(link: Path, path: str | Path) -> None:
    """Let `link` point to `path`, which need not exist.

    Snakemake compares the time of a link, too. It is the beginning of time, so that only that of
    `path` counts.
    """
    target = os.path.abspath(path)
    if link.is_symlink() and os.readlink(link) == target:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.{os.getpid()}.partial")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.utime(temporary, (0, 0), follow_symlinks=False)
    temporary.replace(link)


def path_mistakes(config: dict) -> Iterator[str]:
    """Return paths with ~, which only shells replace, and paths that Snakemake would replace a part
    of and for which no link can stand in."""
    for place, path in _irreplaceable(config):
        if part := replaced_part(path or ""):
            yield f"{place}: Snakemake takes {part} in {path} for a wildcard; rename it"
    sections = ("sources", "test_sets", *MATRIX)
    for place, entry in ((f"{s}.{name}", e) for s in sections for name, e in config[s].items()):
        parts = {place: entry or {}, f"{place}.classifier": (entry or {}).get("classifier") or {}}
        for name, part in parts.items():
            for key in PATH_KEYS:
                path = part.get(key) or ""
                if path.startswith("~"):
                    yield f"{name}.{key}: ~ is not replaced, got {path}; write the whole path"


def _irreplaceable(config: dict) -> Iterator[tuple[str, str | None]]:
    """Return the places and paths of images of containers and of folders that the demo makes."""
    yield from ((f"containers.{name}", path) for name, path in config["containers"].items())
    if config["demo"]:
        for section in ("sources", "test_sets"):
            for name, entry in config[section].items():
                yield f"{section}.{name}.path", (entry or {}).get("path")


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
