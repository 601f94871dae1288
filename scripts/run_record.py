"""run.json: code, machine, configuration, digests, time and memory of a run."""

from pathlib import Path

from geoloc.logs import start_log
from geoloc.report.run_record import run_record, write_record

log = start_log(snakemake.log[0])
params = snakemake.params
record = run_record(
    Path(snakemake.output.record).parent,
    params.config,
    params.code,
    params.listings,
    params.weights,
    snakemake.input.tables,
    params.differences,
)
write_record(snakemake.output.record, record)
log.info("%d stages, %d tables", len(record["stages"]), len(record["tables"]))
