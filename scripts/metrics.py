"""Accuracy with its interval, baselines, distances and more, for every model and test set."""

import pandas as pd

from geoloc.distances import median_positions, warn_of_unplaced
from geoloc.files import atomic_path
from geoloc.index import kept_classes, majority_country
from geoloc.logs import start_log
from geoloc.metrics import accuracy_by_source, metrics_table, paired_tests

start_log(snakemake.log[0])
predictions = [
    (model, dataset, pd.read_parquet(path))
    for (model, dataset), path in zip(
        snakemake.params.rows, snakemake.input.predictions, strict=True
    )
]
index = pd.read_parquet(snakemake.input.index)
authors, seed = index.set_index("image_id")["author"].to_dict(), snakemake.params.seed
positions = median_positions(index)
warn_of_unplaced(kept_classes(snakemake.input.countries), positions)
tables = {
    "by_source": accuracy_by_source(predictions),
    "paired_tests": paired_tests(predictions, authors, seed),
    "metrics": metrics_table(
        predictions, majority_country(snakemake.input.countries), positions, authors, seed
    ),
}
for name, table in tables.items():
    with atomic_path(snakemake.output[name]) as temporary:
        table.to_csv(temporary, index=False)
