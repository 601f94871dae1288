"""Verify, orient, crop, resize and pack the images of a shard."""

from pathlib import Path

from geoloc.logs import start_log
from geoloc.packing import pack_shard
from geoloc.sources import Source

start_log(snakemake.log[0])
collection = snakemake.wildcards.collection
entries = snakemake.params.sources
pack_shard(
    Path(snakemake.input.manifest),
    {name: Source.from_config(name, collection, entry) for name, entry in entries.items() if entry},
    Path(snakemake.output.images),
    Path(snakemake.output.quarantine),
)
