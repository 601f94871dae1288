"""Fetch a file of weights and verify it."""

from pathlib import Path

from geoloc.logs import start_log
from geoloc.retrieve import download

start_log(snakemake.log[0])
entry = snakemake.params.entry
download(entry["url"], Path(snakemake.output.weights), entry)
