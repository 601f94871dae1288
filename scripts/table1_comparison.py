"""Table 1 beside the published one: ours, published, difference."""

from geoloc.files import atomic_path
from geoloc.logs import start_log
from geoloc.table1 import compare, read_table1

log = start_log(snakemake.log[0])
comparison = compare(read_table1(snakemake.input.table), snakemake.params.titles)
with atomic_path(snakemake.output.comparison) as temporary:
    comparison.to_csv(temporary, index=False)
log.info("%d cells are in both tables", len(comparison))
