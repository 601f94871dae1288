"""Download a weights file and verify it."""

from pathlib import Path

from geoloc.corpus.download import download
from geoloc.logs import start_log

start_log(snakemake.log[0])
entry = snakemake.params.entry
download(entry["url"], Path(snakemake.output.weights), entry)
