"""Download the images of a source."""

from geoloc.corpus.retrieve import retrieve_source
from geoloc.logs import start_log

start_log(snakemake.log[0])
retrieve_source(snakemake.params.name, snakemake.params.entry)
