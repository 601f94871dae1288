"""What makes a run the study of *Beyond the Image*, to be compared with its published table.

A difference from the published table means something only if both tables come from the same images,
classes, datasets and models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geoloc.config import default_config
from geoloc.errors import InputError

# The 73 countries with at least 75 images: the classes of all published models.
_CODES = (
    "AR AT AU BD BE BG BO BR BW CA CH CL CO CZ DE DK EC EE ES FI FR GB GH GR GT HK HR HU ID IE IL "
    "IN IS IT JO JP KE KG KH KR LK LS LT LV MN MX MY NG NL NO NZ PE PH PL PS PT RO RS RU SE SG SI "
    "SK SN SZ TH TN TR TW UA US UY ZA"
)
COUNTRIES = tuple(_CODES.split())
# Of the 127 selected ImageNet classes: SHA-256 of their sorted indices as little-endian int16.
SELECTED_CLASSES = "40afed77b4173791d7f6f7113884f2590a1daca340c2d491afcf17de07bbdebc"

SOURCES = {
    "geoguessr": {"kind": "country_folders", "crop": "center", "size": 640},
    "streetview": {"kind": "coordinates_table", "crop": "center", "size": 640},
}
TEST_SETS = {"im2gps3k": {"kind": "coordinates_table", "crop": "none", "size": None}}
MODELS = ("cnn", "transfer", "clip")
SECTIONS = ("index", "segment", "score", "datasets", "train")
# Where files lie, when a run stops, and how fast it is. The content of the class list is compared.
WITHOUT_EFFECT = {
    "index.shard_size", "index.max_rejected", "score.selected_classes", "train.gpus",
    "segment.engine.points_per_batch", "segment.engine.image_batch", "segment.engine.crop_batch",
    "segment.engine.compile",
}  # fmt: skip


def differences(config: dict, schema: dict) -> list[str]:
    """Keys by which a checked configuration is not the study's, whatever its models are.

    `schema` holds the study's settings as its defaults. A test set of the study that is set to null
    only leaves its column empty. Paths of images and weights may differ, file names of weights not.
    """
    study = default_config(schema)
    found = ["demo"] if config["demo"] else []
    found += _other_entries(config, "sources", SOURCES, required=True)
    found += _other_entries(config, "test_sets", TEST_SETS, required=False)
    for section in SECTIONS:
        ours = dict(_settings(config[section], section))
        published = dict(_settings(study[section], section))
        found += [key for key in sorted(ours) if ours[key] != published.get(key)]
    return [key for key in found if key not in WITHOUT_EFFECT]


def refuse_differences(keys: Sequence[str]) -> None:
    """Raise ValueError where a run whose configuration is not the study's asks for a comparison."""
    if keys:
        raise InputError(
            "the published table compares only with a run of the study, and this configuration "
            f"differs in {', '.join(keys)}; read table1.csv and metrics.csv instead"
        )


def _other_entries(config: dict, kind: str, known: dict, required: bool) -> Iterator[str]:
    """Names in `config[kind]` that are missing from the study, or read in another way.

    Further test sets have columns of their own, so only further sources count.
    """
    entries = {name: entry for name, entry in config[kind].items() if entry}
    for name in sorted({*known, *(entries if kind == "sources" else ())}):
        entry = entries.get(name)
        if entry is None and not required:
            continue
        if entry is None or name not in known:
            yield f"{kind}.{name}"
            continue
        for key, value in known[name].items():
            if entry.get(key) != value:
                yield f"{kind}.{name}.{key}"


def study_models(config: dict, schema: dict) -> list[str]:
    """The models of a checked configuration that are the study's, by their keys.

    Titles may differ. A CLIP that is trained by the workflow is not StreetCLIP.
    """
    study = default_config(schema)

    def settings(entry: dict | None) -> dict:
        return {k: v for k, v in _settings(entry or {}, "") if k not in (".title", ".batch_size")}

    return [m for m in MODELS if settings(config["models"][m]) == settings(study["models"][m])]


def _settings(section: dict, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every value below `section` by its dotted key; of a path only the file name."""
    for key, value in section.items():
        name = f"{prefix}.{key}"
        if isinstance(value, dict):
            yield from _settings(value, name)
        elif value is not None and key.endswith(("weights", "path")):
            yield name, Path(value).name
        else:
            yield name, value


def other_classes(countries: Sequence[str], selected: np.ndarray) -> list[str]:
    """What differs from the study's classes, as text for a log; empty where nothing does.

    Args:
        countries: ISO codes of the classes of the models.
        selected: indices of the ImageNet classes that score, sorted, int16.
    """
    found = []
    if set(countries) != set(COUNTRIES):
        found.append(f"{len(countries)} countries that are not the study's {len(COUNTRIES)}")
    digest = hashlib.sha256(np.asarray(selected).astype("<i2").tobytes()).hexdigest()
    if digest != SELECTED_CLASSES:
        found.append("a class list that is not the study's")
    return found
