"""Accuracy with its interval, baselines and more, for every model and test set."""

import pandas as pd

from geoloc.files import atomic_path
from geoloc.index import majority_country
from geoloc.logs import start_log
from geoloc.metrics import metrics_table

start_log(snakemake.log[0])
rows = zip(snakemake.params.rows, snakemake.input.predictions, strict=True)
table = metrics_table(
    ((model, dataset, pd.read_parquet(path)) for (model, dataset), path in rows),
    majority_country(snakemake.input.countries),
)
with atomic_path(snakemake.output.metrics) as temporary:
    table.to_csv(temporary, index=False)
