"""Squash the score maps of a shard to the input size of the Keras models."""

from pathlib import Path

from geoloc.corpus.pack import pack_scores
from geoloc.logs import start_log

start_log(snakemake.log[0])
pack_scores(
    Path(snakemake.input.scores),
    Path(snakemake.output.arrays),
    snakemake.params.index_folder,
)
