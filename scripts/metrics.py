"""Accuracy with its interval, baselines, distances and more, for every model and test set."""

from geoloc.corpus.index_tables import kept_classes, majority_country
from geoloc.evaluation.distances import median_positions, warn_of_unplaced
from geoloc.evaluation.intervals import authors_of_images
from geoloc.evaluation.metrics import accuracy_by_source, metrics_table, paired_tests
from geoloc.evaluation.read_predictions import check_index, read_predictions
from geoloc.files import atomic_path
from geoloc.logs import start_log
from geoloc.tables import read_table

log = start_log(snakemake.log[0])
index, paths = read_table(snakemake.input.index), snakemake.input.predictions
classes = kept_classes(snakemake.input.countries)
tables = read_predictions(
    paths, classes, snakemake.params.datasets, set(index.collection) - {"street"}
)
for path, table in zip(paths, tables, strict=True):
    missing = check_index(table, path, index)
if missing:
    log.warning("test images that could not be read and have no prediction: %d", missing)
predictions = [(*row, table) for row, table in zip(snakemake.params.rows, tables, strict=True)]
authors, seed = authors_of_images(index), snakemake.params.seed
positions = median_positions(index)
warn_of_unplaced(classes, positions)
results = {
    "by_source": accuracy_by_source(predictions),
    "paired_tests": paired_tests(predictions, authors, seed),
    "metrics": metrics_table(
        predictions, majority_country(snakemake.input.countries), positions, authors, seed
    ),
}
for name, table in results.items():
    with atomic_path(snakemake.output[name]) as temporary:
        table.to_csv(temporary, index=False)
