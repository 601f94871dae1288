"""Distances of this run's models next to those that others published for the same test set."""

import pandas as pd

from geoloc.evaluation.published_distances import compare_distances
from geoloc.files import atomic_path
from geoloc.logs import start_log

start_log(snakemake.log[0])
metrics = pd.read_csv(snakemake.input.metrics, keep_default_na=False, na_values=[""])
table = compare_distances(metrics, snakemake.params.model_titles, snakemake.params.dataset_titles)
with atomic_path(snakemake.output.table) as temporary:
    table.to_csv(temporary, index=False)
