"""Squash the images and score maps of a shard to what the Keras models read."""

from pathlib import Path

from geoloc.corpus.pack import pack_arrays
from geoloc.logs import start_log

start_log(snakemake.log[0])
scores = snakemake.input.get("scores")
pack_arrays(
    Path(snakemake.input.images),
    Path(scores) if scores else None,
    snakemake.wildcards.country,
    Path(snakemake.output.arrays),
    snakemake.params.index_folder,
)
