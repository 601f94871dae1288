"""Check, orient, crop, resize and pack the images of a shard."""

from pathlib import Path

from geoloc.corpus.prepare import prepare_shard
from geoloc.corpus.sources import Source
from geoloc.logs import start_log

start_log(snakemake.log[0])
collection = snakemake.wildcards.collection
entries = snakemake.params.sources
names = snakemake.params.preparation
prepare_shard(
    Path(snakemake.input.manifest),
    {name: Source.from_config(name, collection, entries[name]) for name in names},
    Path(snakemake.output.images),
    Path(snakemake.output.quarantine),
    snakemake.params.max_megapixels,
)
