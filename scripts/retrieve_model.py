"""Fetch a model folder from its hub."""

from pathlib import Path

from geoloc.logs import start_log
from geoloc.retrieve import retrieve_model

start_log(snakemake.log[0])
retrieve_model(snakemake.params.entry, Path(snakemake.output.folder))
