"""List the shards of a stage."""

from geoloc.logs import start_log
from geoloc.stores import write_list

start_log(snakemake.log[0])
write_list(snakemake.output.table, snakemake.input.shards)
