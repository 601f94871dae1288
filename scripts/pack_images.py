"""Squash the images of a shard to the input size of the Keras models."""

from pathlib import Path

from geoloc.corpus.pack import pack_images
from geoloc.logs import start_log

start_log(snakemake.log[0])
pack_images(
    Path(snakemake.input.images),
    snakemake.wildcards.country,
    Path(snakemake.output.arrays),
    snakemake.params.index_folder,
)
