"""Mistakes in entries of the matrix that a schema can't express."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from geoloc.config.errors import shown
from geoloc.matrix import (
    DEFAULT,
    OF_CURVES,
    columns,
    dataset_titles,
    is_trained,
    keys_of_other_curves,
)

RESERVED = {"street", DEFAULT}
SCALE_THEIR_INPUT = ("ConvNeXt", "EfficientNet", "MobileNetV3")  # of keras.applications
# Keys of datasets that dim, and of cells with a backbone, with their defaults.
DIMMING = {"invert": False, "scores_of": "self", "fill": "black"}
OF_BACKBONES = {"backbone": "resnet50", "preprocessing": "rescale", "fine_tune": "none"}
KNOWN_BLOCKS = ("resnet50", "efficientnet_lite0")


def matrix_mistakes(config: Mapping, schema: Mapping) -> list[str]:
    """Return which entries of a configuration don't fit together, and what to write, as lines."""
    return [
        *_unknown_names(config),
        *_curve_mistakes(config),
        *_unused_keys(config, schema["$defs"]["dataset"]["properties"]),
        *_name_clashes(config),
        *_title_mistakes(config),
        *_title_clashes(config),
        *_dataset_mistakes(config),
        *_network_mistakes(config),
    ]


def _unknown_names(config: Mapping) -> Iterator[str]:
    """Find names of entries that don't exist."""
    for name, entry in config["scores"].items():
        yield from _unknown(
            config, f"scores.{name}.segmentation", "segmentations", entry["segmentation"]
        )
    for name, entry in config["datasets"].items():
        if entry["scores"] is not None:
            yield from _unknown(config, f"datasets.{name}.scores", "scores", entry["scores"])
    for name, entry in config["models"].items():
        for dataset in entry.get("datasets") or []:
            yield from _unknown(config, f"models.{name}.datasets", "datasets", dataset)


def _unknown(config: Mapping, key: str, section: str, name: str) -> Iterator[str]:
    if name not in config[section]:
        known = ", ".join(config[section]) or "none exist"
        yield f"{key}: {section} has no entry {name!r}; write one of its entries ({known})"


def _curve_mistakes(config: Mapping) -> Iterator[str]:
    """Find datasets whose keys contradict each other."""
    for name, entry in config["datasets"].items():
        key, lower, upper = f"datasets.{name}", entry["lower_score"], entry["upper_score"]
        if entry["curve"] != "none" and entry["scores"] is None:
            yield (
                f"{key}.scores: the curve {entry['curve']} needs score maps; write one of "
                f"{', '.join(config['scores']) or 'the entries of scores'}"
            )
        if entry["view"] == "object":
            if entry["scores"] is None:
                yield (
                    f"{key}.scores: the view object needs scores; write one of "
                    f"{', '.join(config['scores']) or 'the entries of scores'}"
                )
            if entry["curve"] != "none":
                yield f"{key}.curve: a crop is not dimmed; write curve: none, or view: whole"
            if changed := [k for k in DIMMING if entry[k] != DIMMING[k]]:
                yield (
                    f"{key}.{changed[0]}: has no effect with view: object; write view: whole, or "
                    f"remove {changed[0]}"
                )
        elif entry["curve"] == "none":
            others = DIMMING | {"scores": None}
            if changed := [other for other in others if entry[other] != others[other]]:
                yield (
                    f"{key}.{changed[0]}: has no effect with curve: none; write curve: linear, "
                    f"piecewise or python, or remove {changed[0]}"
                )
        if entry["curve"] == "python" and entry["file"] is None:
            yield f"{key}.file: the curve python needs a file; write the path of your Python file"
        # Eqn. 1 divides by their difference.
        if entry["curve"] == "piecewise" and lower >= upper:
            yield (
                f"{key}.lower_score: must be below upper_score ({upper}), got {lower}; "
                f"for a step at {upper}, write lower_score: {upper - 1}"
            )


def _unused_keys(config: Mapping, properties: Mapping) -> Iterator[str]:
    """Find keys of other curves than a dataset's own that are not at their defaults."""
    for name, entry in config["datasets"].items():
        for key in sorted(keys_of_other_curves(entry["curve"], OF_CURVES)):
            if entry[key] != (default := properties[key]["default"]):
                curves = " or ".join(curve for curve, keys in OF_CURVES.items() if key in keys)
                yield (
                    f"datasets.{name}.{key}: has no effect with curve: {entry['curve']}; write "
                    f"curve: {curves}, or remove {key} (its default is {shown(default)})"
                )


def _name_clashes(config: Mapping) -> Iterator[str]:
    """Find names that would give two folders or test sets the same name."""
    for name in config["datasets"]:
        if name in RESERVED:
            yield f"datasets.{name}: this name is reserved; rename the dataset"
    sources = (name for name, entry in config["sources"].items() if entry)
    used = {*RESERVED, *config["datasets"], *sources}
    for name in config["test_sets"]:
        if name in used:
            yield f"test_sets.{name}: this name is already in use; rename the test set"


def _title_mistakes(config: Mapping) -> Iterator[str]:
    """Find titles that a table can't show as they are, or that rows without a dataset have."""
    for section in ("models", "datasets", "sources", "test_sets"):
        for name, entry in config[section].items():
            title = (entry or {}).get("title")
            if title and (title != title.strip() or not title.isprintable()):
                yield (
                    f"{section}.{name}.title: {title!r} begins or ends with a space, or holds a "
                    "line break or another control character; write it without"
                )
    reserved = dataset_titles(config)[DEFAULT]
    for name, entry in config["datasets"].items():
        if entry["title"] and _look(entry["title"]) == _look(reserved):
            yield (
                f"datasets.{name}.title: {reserved!r} stands for models that are not trained on a "
                "dataset; write another title"
            )


def _title_clashes(config: Mapping) -> Iterator[str]:
    """Find titles that would make two rows or columns of Table 1 look the same."""
    models = [entry["title"] for entry in config["models"].values()]
    datasets = [entry["title"] or name for name, entry in config["datasets"].items()]
    for section, titles in (("models", models), ("datasets", datasets)):
        for alike in _looking_alike(titles):
            told = f"{section}: {len(alike)} entries have the title {_told(alike)}"
            yield f"{told}; give each its own"
    for alike in _looking_alike(columns(config).values()):
        yield f"test_sets: {len(alike)} columns of Table 1 are named {_told(alike)}; change a title"


def _looking_alike(titles: Iterable[str]) -> Iterator[list[str]]:
    """Yield the titles that differ in nothing but capitals, spaces and forms of Unicode."""
    found: dict[str, list[str]] = {}
    for title in titles:
        found.setdefault(_look(title), []).append(title)
    yield from (alike for alike in found.values() if len(alike) > 1)


def _look(title: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", title).casefold().split())


def _told(titles: list[str]) -> str:
    return " or ".join(map(repr, dict.fromkeys(titles)))


def _dataset_mistakes(config: Mapping) -> Iterator[str]:
    """Find models without rows, and test sets that no dataset shows unchanged."""
    trained = [name for name, entry in config["datasets"].items() if entry["train"]]
    for name, entry in config["models"].items():
        if is_trained(entry) and "datasets" in entry and not (entry["datasets"] or trained):
            yield f"models.{name}.datasets: no dataset has train: true; name the datasets here"
    if not any(entry["column"] for entry in config["datasets"].values()):
        yield "datasets: no dataset has column: true; Table 1 needs at least one"


def _network_mistakes(config: Mapping) -> Iterator[str]:
    """Find options that a network does not support, see `geoloc.keras_models.transfer`."""
    for name, entry in config["models"].items():
        key = f"models.{name}"
        if entry["kind"] == "cells":
            least, most = entry["minimum_images"], entry["maximum_images"]
            if least > most:
                yield (
                    f"{key}.minimum_images: must be at most maximum_images ({most}), got "
                    f"{least}; write a smaller one"
                )
            if (entry["network"] == "transfer") != (entry["weights"] is not None):
                yield (
                    f"{key}.weights: the network transfer needs the file of its backbone, and "
                    "the network cnn has none; write network: transfer and weights, or neither"
                )
            if entry["network"] == "cnn":
                for other in (k for k in OF_BACKBONES if entry[k] != OF_BACKBONES[k]):
                    yield (
                        f"{key}.{other}: has no effect with network: cnn; write network: transfer, "
                        f"or remove {other}"
                    )
        if entry["kind"] == "transfer" or entry.get("network") == "transfer":
            yield from _backbone_mistakes(key, entry)


def _backbone_mistakes(key: str, entry: Mapping) -> Iterator[str]:
    backbone = entry["backbone"]
    if backbone.startswith(SCALE_THEIR_INPUT) and entry["preprocessing"] == "rescale":
        yield f"{key}.preprocessing: {backbone} scales its input itself; write imagenet"
    if backbone not in KNOWN_BLOCKS and entry["fine_tune"] == "last_block":
        yield (
            f"{key}.fine_tune: the last block of {backbone} is not known; write none, or one of "
            f"{', '.join(KNOWN_BLOCKS)} as backbone"
        )
