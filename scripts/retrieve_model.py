"""Fetch a model folder from its hub."""

from pathlib import Path

from geoloc.image_text.retrieve import retrieve_model
from geoloc.logs import start_log

start_log(snakemake.log[0])
retrieve_model(snakemake.params.entry, Path(snakemake.output.folder))
