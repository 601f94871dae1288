"""Collect the skipped images, and stop the run if there are too many."""

from pathlib import Path

from geoloc.corpus.quarantine import collect_quarantine, write_quarantine
from geoloc.logs import start_log
from geoloc.tables import read_table

log = start_log(snakemake.log[0])
sizes = read_table(snakemake.input.images, columns=["source"]).source.value_counts()
rows = collect_quarantine(
    Path(snakemake.input.rejected),
    [Path(path) for path in snakemake.input.shards],
    sizes.to_dict(),
    snakemake.params.max_unreadable,
)
write_quarantine(Path(snakemake.output.quarantine), rows)
log.info("%d images were excluded", len(rows))
