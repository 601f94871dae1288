"""Registries of models, segmenters, sources and other things that the configuration names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from geoloc.errors import InputError


class Registry(Mapping[str, Any]):
    """Modules, or objects of modules, by name; each is imported when first used.

        Registry("Keras model", {"cnn": "geoloc.keras_models.cnn"})["cnn"].build(classes=73)
        Registry("precision", {"float16": "torch:float16"})["float16"]

    To add an entry, write the module and name it in the registry.
    """

    def __init__(self, what: str, entries: Mapping[str, str]) -> None:
        """Create a registry.

        Args:
            what: what the entries are, in the singular, for messages.
            entries: `module` or `module:name` by name.
        """
        self.what, self.entries = what, dict(entries)

    def __getitem__(self, name: str) -> Any:
        """Import an entry.

        Raises:
            InputError: if the name is unknown; the message lists the known ones.
        """
        if name not in self.entries:
            raise InputError(
                f"unknown {self.what} {name!r}; choose one of {', '.join(self.entries)}"
            )
        module, _, attribute = self.entries[name].partition(":")
        found = import_module(module)
        return getattr(found, attribute) if attribute else found

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)
