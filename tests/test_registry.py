"""Everything that the configuration names is found, and what it does not know is told."""

from __future__ import annotations

import pytest
import yaml

from geoloc.corpus.sources import KINDS
from geoloc.countries.geocoding import GEOCODERS
from geoloc.errors import InputError
from geoloc.keras_models.applications import application_names
from geoloc.keras_models.build import KERAS_MODELS
from geoloc.keras_models.transfer import BACKBONES
from geoloc.matrix import ROOMS
from geoloc.pytorch.device import PRECISIONS
from geoloc.registry import Registry
from geoloc.segmentation.classifiers import CLASSIFIERS
from geoloc.segmentation.kinds import KINDS as SEGMENTATIONS
from geoloc.segmentation.segmenters import SEGMENTERS
from geoloc.weighting import CURVES, FILLS
from tests.conftest import ROOT

REGISTRIES = [KINDS, GEOCODERS, KERAS_MODELS, BACKBONES, PRECISIONS, CLASSIFIERS, SEGMENTERS]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.what)
def test_every_entry_exists(registry):
    assert len(registry) > 1
    assert all(registry[name] is not None for name in registry)


def test_an_unknown_name_is_told_with_the_known_ones():
    registry = Registry("geocoder", {"near": "math:floor", "far": "math:ceil"})
    assert registry["far"](0.5) == 1
    with pytest.raises(InputError, match="unknown geocoder 'nearby'; choose one of near, far"):
        registry["nearby"]


def test_the_schema_allows_what_the_registries_know():
    text = (ROOT / "config/config.schema.yaml").read_text(encoding="utf-8")
    schema = yaml.safe_load(text)
    parts, index = schema["$defs"], schema["properties"]["index"]["properties"]
    sam = parts["segmentation"]["kinds"]["sam"]["properties"]
    dataset = parts["dataset"]["properties"]
    backbone = parts["model"]["kinds"]["transfer"]["properties"]["backbone"]
    for names, registry in (
        (parts["source"]["properties"]["kind"], KINDS),
        (sam["model"], SEGMENTERS),
        (sam["precision"], PRECISIONS),
        (parts["classifier"]["properties"]["kind"], CLASSIFIERS),
        (dataset["curve"], CURVES),
        (dataset["fill"], FILLS),
        (index["geocoder"], GEOCODERS),
        (backbone, [*BACKBONES, *application_names()]),
    ):
        assert sorted(names["enum"]) == sorted(registry)
    assert sorted(parts["segmentation"]["kinds"]) == sorted(SEGMENTATIONS)
    assert sorted(parts["model"]["kinds"]) == sorted(ROOMS)
    of_keras = {kind for kind, room in ROOMS.items() if room == "keras_models"}
    assert of_keras - {"cells"} == set(KERAS_MODELS)  # cells are trained as one of the others
    assert all(callable(r[n].build) for r in (KERAS_MODELS, CLASSIFIERS, SEGMENTERS) for n in r)
