"""Build the index: all images with their country, split and shard."""

from pathlib import Path

from geoloc.corpus.index import build_index, write_index
from geoloc.corpus.sources import configured_sources
from geoloc.logs import start_log

start_log(snakemake.log[0])
params = snakemake.params
tables = build_index(
    configured_sources({"sources": params.sources, "test_sets": params.test_sets}),
    min_images=params.min_images,
    shard_size=params.shard_size,
    seed=params.seed,
    ratio=params.split,
    place_km=params.place_km,
    max_rejected=params.max_rejected,
    geocoder=params.geocoder,
    unusable=Path(snakemake.log[0]).with_suffix(".rejected.csv"),
)
write_index(Path(snakemake.output.images).parent, *tables)
