"""Draw the demo's world in the raw layouts of the real sources."""

from pathlib import Path

from geoloc.logs import start_log
from scenes.world import write_world

start_log(snakemake.log[0])
write_world(
    Path(snakemake.output[0]).parent,
    workers=snakemake.threads,
    **dict(snakemake.params.items()),
)
