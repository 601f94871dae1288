"""Distances of this run's models next to published ones on the same test set."""

from geoloc.evaluation.published_distances import compare_distances
from geoloc.files import atomic_path
from geoloc.logs import start_log
from geoloc.tables import read_table

start_log(snakemake.log[0])
metrics = read_table(snakemake.input.metrics)
table = compare_distances(metrics, snakemake.params.model_titles, snakemake.params.dataset_titles)
with atomic_path(snakemake.output.table) as temporary:
    table.to_csv(temporary, index=False)
