"""Whether a run is the study of *Beyond the Image*, so it can be compared with the published table.

A difference from the published table is meaningful only if both tables come from the same images,
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
from geoloc.matrix import DEFAULT, dataset_titles, model_titles, titles_of_test_sets

# The 73 countries with at least 75 images: the classes of all published models.
_CODES = (
    "AR AT AU BD BE BG BO BR BW CA CH CL CO CZ DE DK EC EE ES FI FR GB GH GR GT HK HR HU ID IE IL "
    "IN IS IT JO JP KE KG KH KR LK LS LT LV MN MX MY NG NL NO NZ PE PH PL PS PT RO RS RU SE SG SI "
    "SK SN SZ TH TN TR TW UA US UY ZA"
)
COUNTRIES = tuple(_CODES.split())
# The 127 selected ImageNet classes: SHA-256 of their sorted indices as little-endian int16.
SELECTED_CLASSES = "40afed77b4173791d7f6f7113884f2590a1daca340c2d491afcf17de07bbdebc"

SOURCES = {
    "geoguessr": {"kind": "country_folders", "crop": "center", "size": 640},
    "streetview": {"kind": "coordinates_table", "crop": "center", "size": 640},
}
PUBLISHED_TEST_SETS = {"im2gps3k": {"title": "Im2GPS-3k-modified"}}
TEST_SETS = {"im2gps3k": {"kind": "coordinates_table", "crop": "none", "size": None}}
SECTIONS = ("index", "train")
# Sections whose entries must match the study's; more entries only add rows or columns.
MATRIX = ("segmentations", "scores", "datasets")
# File locations, when a run stops, speed, and titles. The content of the class list is compared.
WITHOUT_EFFECT = {
    "shard_size",
    "max_rejected",
    "gpus",
    "engine.points_per_batch",
    "engine.image_batch",
    "engine.crop_batch",
    "engine.compile",
    "classes",
    "title",
}


def differences(config: dict, schema: dict) -> list[str]:
    """Return the keys in which a checked configuration differs from the study's, except models.

    `schema` has the study's settings as defaults. Setting a test set of the study to null only
    leaves its column empty. Paths of images and weights may differ, file names of weights may not.
    """
    study = default_config(schema)
    found = ["demo"] if config["demo"] else []
    found += _other_entries(config, "sources", SOURCES, required=True)
    found += _other_entries(config, "test_sets", TEST_SETS, required=False)
    for section in SECTIONS:
        found += _different(config[section], study[section], section)
    for section in MATRIX:
        for name, entry in study[section].items():
            place = f"{section}.{name}"
            if name not in config[section]:
                found.append(place)
            else:
                found += _different(config[section][name], entry, place)
    return found


def _different(ours: dict, published: dict, place: str) -> list[str]:
    """Return the dotted keys in which a section or an entry differs from the study's."""
    found, wanted = (dict(_settings(section, "")) for section in (ours, published))
    return [
        f"{place}.{key}"
        for key in sorted({*found, *wanted})
        if key not in WITHOUT_EFFECT and found.get(key) != wanted.get(key)
    ]


def refuse_differences(keys: Sequence[str]) -> None:
    """Raise InputError if a run that differs from the study asks for a comparison with it."""
    if keys:
        raise InputError(
            "the published table compares only with a run of the study, and this configuration "
            f"differs in {', '.join(keys)}; read table1.csv and metrics.csv instead"
        )


def _other_entries(config: dict, kind: str, known: dict, required: bool) -> Iterator[str]:
    """Yield names in `config[kind]` that are missing from the study, or read in another way.

    More test sets have their own columns, so only additional sources count.
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


def study_titles(config: dict, schema: dict) -> dict[str, dict[str, str]]:
    """Return the published titles of what a checked configuration has of the study, by ours.

    A CLIP trained by the workflow is not StreetCLIP.

    Returns:
        Titles of models, datasets and columns of Table 1, by the columns of the comparison that
        have them (`table1.COMPARED`).
    """
    study = default_config(schema) | {"test_sets": PUBLISHED_TEST_SETS}

    def same(section: str, ours: dict, published: dict) -> dict[str, str]:
        return {
            ours[name]: published[name]
            for name, entry in study[section].items()
            if name in config[section] and _alike(section, config[section][name], entry)
        }

    datasets = same("datasets", dataset_titles(config), dataset_titles(study))
    columns = {
        f"{ours} Test Accuracy": f"{title} Test Accuracy" for ours, title in datasets.items()
    }
    photos = same("test_sets", titles_of_test_sets(config), titles_of_test_sets(study))
    columns |= {f"{ours} Accuracy": f"{title} Accuracy" for ours, title in photos.items()}
    always = dataset_titles(config)[DEFAULT]
    return {
        "Model": same("models", model_titles(config), model_titles(study)),
        "Trained On": {always: dataset_titles(study)[DEFAULT]} | datasets,
        "Test Set": columns,
    }


def _alike(section: str, ours: dict | None, published: dict) -> bool:
    """Return whether an entry is the one of the study, whatever its title."""
    if section == "test_sets":
        return ours is not None
    found, wanted = (dict(_settings(entry, "")) for entry in (ours, published))
    return all(
        found.get(key) == wanted.get(key) for key in {*found, *wanted} - {"title", "batch_size"}
    )


def _settings(section: dict, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield every value below `section` with its dotted key; for paths only the file name."""
    for key, value in section.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _settings(value, f"{name}.")
        elif value is not None and key.endswith(("weights", "path")):
            yield name, Path(value).name
        else:
            yield name, value


def other_classes(countries: Sequence[str], selected: Sequence[np.ndarray]) -> list[str]:
    """Describe what differs from the study's classes, for the log; empty if nothing does.

    Args:
        countries: ISO codes of the classes of the models.
        selected: for each class list, the indices of the classes that score, sorted, int16.
    """
    found = []
    if set(countries) != set(COUNTRIES):
        found.append(f"{len(countries)} countries that are not the study's {len(COUNTRIES)}")
    digests = [hashlib.sha256(np.asarray(s).astype("<i2").tobytes()).hexdigest() for s in selected]
    if digests[:1] != [SELECTED_CLASSES]:
        found.append("a class list that is not the study's")
    return found
