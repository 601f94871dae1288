"""Crop the images of a shard to their best objects, as input of the models."""

from pathlib import Path

from geoloc.logs import start_log
from geoloc.segmentation.objects import pack_crops
from geoloc.segmentation.scoring import read_selected

start_log(snakemake.log[0])
params, inputs = snakemake.params, snakemake.input
pack_crops(
    Path(inputs.images),
    Path(inputs.segments),
    snakemake.wildcards.country,
    read_selected(inputs.classes, params.ambiguous_classes, params.vocabulary),
    params.minimum,
    Path(snakemake.output.arrays),
    Path(snakemake.output.boxes),
    params.index_folder,
)
