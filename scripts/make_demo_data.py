"""Draw the world of the demo in the raw layouts of the real sources."""

from pathlib import Path

from geoloc.logs import start_log
from scenes.world import write_world

start_log(snakemake.log[0])
write_world(
    Path(snakemake.output[0]).parent,
    seed=snakemake.params.seed,
    images_per_country=snakemake.params.images_per_country,
    test_set_images=snakemake.params.test_set_images,
    workers=snakemake.threads,
)
