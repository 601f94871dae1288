"""run.json: code, machine, configuration, digests, time and memory of a run."""

from pathlib import Path

from geoloc.corpus.sources import configured_sources, listing_digest
from geoloc.logs import start_log
from geoloc.report.run_record import run_record, write_record

log = start_log(snakemake.log[0])
params = snakemake.params
# Here and not in the rule: it would list every source again each time the workflow is planned.
listings = {source.name: listing_digest(source) for source in configured_sources(params.config)}
record = run_record(
    Path(snakemake.output.record).parent,
    params.config,
    params.code,
    dict(sorted(listings.items())),
    params.weights,
    snakemake.input.tables,
    params.differences,
)
write_record(snakemake.output.record, record)
log.info("%d stages, %d tables", len(record["stages"]), len(record["tables"]))
