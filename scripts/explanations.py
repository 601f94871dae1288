"""Influence, cause and faithfulness of the explanations of all rows."""

from geoloc.explain.tables import cause, faithfulness, influence, read_row_tables
from geoloc.files import atomic_path
from geoloc.logs import start_log

log = start_log(snakemake.log[0])
inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
tables = {
    "influence": influence(read_row_tables(params.rows, inputs.influence), params.seed),
    "cause": cause(read_row_tables(params.rows, inputs.changes), params.seed),
    "faithfulness": faithfulness(read_row_tables(params.rows, inputs.checks)),
}
for name, table in tables.items():
    with atomic_path(outputs[name]) as temporary:
        table.to_csv(temporary, index=False)
    log.info("%s: %d rows", name, len(table))
