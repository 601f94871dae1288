"""Fetch the images of a source."""

from geoloc.logs import start_log
from geoloc.retrieve import retrieve_source

start_log(snakemake.log[0])
retrieve_source(snakemake.wildcards.source, dict(snakemake.params.items()))
