"""What to cite for the data, weights and methods of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import geoloc
from geoloc.matrix import ROOMS, explained_rows

REFERENCES = Path(__file__).parent / "data" / "references.yaml"
NO_BRACES = str.maketrans("", "", "{}")  # BibTeX's marks around what is one name
ALWAYS = ("beyond_the_image_workflow", "singh_beyond_the_image")
OF_SOURCES = {
    "geoguessr": ("geoguessr_images",),
    "streetview": ("streetview_images",),
    "im2gps3k": ("vo_revisiting_2017", "hays_im2gps_2008", "muller_budack_geolocation_2018"),
    "im2gps": ("hays_im2gps_2008", "muller_budack_geolocation_2018"),
    "yfcc25600": ("theiner_interpretable_2022", "muller_budack_geolocation_2018"),
}
OF_SEGMENTATIONS = {"sam": ("kirillov_segment_2023",), "sam2": ("ravi_sam2_2025",)}
OF_VOCABULARIES = {
    "cityscapes": "cordts_cityscapes_2016",
    "mapillary_vistas": "neuhold_mapillary_2017",
}
OF_MODELS = {
    "cells": ("weyand_planet_2016",),
    "geoclip": ("vivanco_cepeda_geoclip_2023",),
    "clip": ("radford_learning_2021",),
    "contrastive": ("radford_learning_2021",),
}
OF_NAMES = {
    "resnet50": "he_deep_2016",
    "efficientnet": "tan_efficientnet_2019",
    "mask2former": "cheng_mask2former_2022",
    "oneformer": "jain_oneformer_2023",
    "segformer": "xie_segformer_2021",
    "streetclip": "haas_streetclip_2023",
}
"""References of networks, by a part of the name of a backbone, classifier, model folder or file."""
OF_GEOCODERS = {
    "nearest_city": ("thampi_reverse_geocoder", "geonames"),
    "country_polygon": ("country_coder",),
}
OF_EXPLANATIONS = {
    "keras_models": ("selvaraju_gradcam_2017", "sundararajan_axiomatic_2017"),
    "image_text": ("chefer_generic_2021",),
}
"""By the package of the explained models."""
OF_CHECKED_MAPS = ("petsiuk_rise_2018", "zhang_topdown_2016", "adebayo_sanity_2018")


@dataclass(frozen=True)
class Reference:
    """An entry of references.yaml with its BibTeX key."""

    key: str
    fields: Mapping[str, Any]

    @property
    def why(self) -> str:
        """What it is cited for."""
        return self.fields["for"]

    @property
    def license(self) -> str | None:
        """License of the data; None for publications and software."""
        return self.fields.get("license")

    def text(self) -> str:
        """Return the reference as one line of text."""
        authors = str(self.fields["author"]).translate(NO_BRACES).split(" and ")
        shown = ", ".join(authors[:3]) + (" et al." if len(authors) > 3 else "")
        rest = [self.fields.get(k) for k in ("booktitle", "note", "version", "year", "url")]
        version = f"Version {rest[2]}" if rest[2] else None
        parts = [*rest[:2], version, *rest[3:]]
        return f"{shown}: {self.fields['title']}. " + ", ".join(str(p) for p in parts if p) + "."

    def bibtex(self) -> str:
        """Return the reference as an entry of BibTeX; `software` is a type of BibLaTeX."""
        fields = {k: v for k, v in self.fields.items() if k not in ("type", "for", "license")}
        lines = [f"  {name} = {{{_latex(str(value), name)}}}" for name, value in fields.items()]
        return f"@{self.fields['type']}{{{self.key},\n" + ",\n".join(lines) + "\n}"


def _latex(text: str, name: str) -> str:
    """Text with the characters escaped that mean something to LaTeX; a title keeps its capitals."""
    if name != "url":
        for character in "&%_#":
            text = text.replace(character, f"\\{character}")
    return f"{{{text}}}" if name == "title" else text


def all_references() -> dict[str, Reference]:
    """Return every entry of references.yaml by its key."""
    found = yaml.safe_load(REFERENCES.read_text(encoding="utf-8"))
    found[ALWAYS[0]]["version"] = geoloc.__version__
    return {key: Reference(key, fields) for key, fields in found.items()}


def references(config: Mapping[str, Any]) -> list[Reference]:
    """Return what a run has to cite, each once: software, study, data, then methods and weights.

    In the demo, whose images are drawn, sources and test sets are not cited.

    Args:
        config: the checked configuration of the run.
    """
    known = all_references()
    return [known[key] for key in dict.fromkeys(_keys(config))]


def _keys(config: Mapping[str, Any]) -> Iterator[str]:
    yield from ALWAYS
    if not config["demo"]:
        for name, entry in {**config["sources"], **config["test_sets"]}.items():
            if entry:
                yield from OF_SOURCES.get(name, ())
    yield from OF_GEOCODERS.get(config["index"]["geocoder"], ())
    for entry in config["segmentations"].values():
        yield from OF_SEGMENTATIONS.get(entry["kind"], ())
        classifier = entry.get("classifier") or {}
        if vocabulary := OF_VOCABULARIES.get(entry.get("vocabulary", "")):
            yield vocabulary
        yield from _of_names(
            [classifier.get("kind"), entry.get("model"), entry.get("path"), entry.get("weights")]
        )
    for entry in config["models"].values():
        yield from OF_MODELS.get(entry["kind"], ())
        yield from _of_names([entry.get("backbone"), entry.get("path")])
    if explained := explained_rows(config):
        for room in dict.fromkeys(ROOMS[config["models"][row.model]["kind"]] for row in explained):
            yield from OF_EXPLANATIONS[room]
        yield from OF_CHECKED_MAPS


def _of_names(values: Sequence[Any]) -> Iterator[str]:
    names = [Path(str(value)).name.lower() for value in values if value]
    for part, key in OF_NAMES.items():
        if any(part in name for name in names):
            yield key
