"""Download a model folder from its hub."""

from functools import partial
from pathlib import Path

from geoloc.image_text.retrieve import retrieve_model
from geoloc.logs import start_log
from geoloc.registry import Registry

LOADERS = Registry(
    "kind of model folder",
    {
        "clip": "geoloc.image_text.folder:load_clip",
        "sam2": "geoloc.segmentation.segmenters.sam.sam2:load_sam2",
        "semantic": "geoloc.segmentation.segmenters.semantic.networks:load_semantic",
    },
)

start_log(snakemake.log[0])
entry = snakemake.params.entry
options = {"vocabulary_name": entry["vocabulary"]} if "vocabulary" in entry else {}
retrieve_model(
    entry,
    Path(snakemake.output.folder),
    partial(LOADERS[entry.get("kind", "clip")], **options),
)
