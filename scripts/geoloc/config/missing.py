"""Files and folders that the configuration names and that neither exist nor will be made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from geoloc.config.paths import PATH_KEYS


def missing_paths(
    entries: Iterable[tuple[str, Mapping]], made: Callable[[str], bool]
) -> Iterator[str]:
    """Yield a message for each path of `entries` that does not exist.

    Args:
        entries: places in the configuration, such as `models.clip`, and what is there.
        made: whether the workflow makes or downloads a path.
    """
    for place, entry in entries:
        parts = {place: entry, f"{place}.classifier": entry.get("classifier") or {}}
        for name, part in parts.items():
            for key in PATH_KEYS:
                path = part.get(key)
                if path and not Path(path).exists() and not made(path):
                    yield (f"{name}.{key}: {path} does not exist; put it there or correct the key")
