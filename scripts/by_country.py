"""Accuracy by country, and which countries are mistaken for which."""

from geoloc.corpus.index_tables import kept_classes
from geoloc.evaluation.by_country import accuracy_by_country, confusion
from geoloc.evaluation.read_predictions import read_predictions
from geoloc.files import atomic_path
from geoloc.logs import start_log
from geoloc.tables import read_table

log = start_log(snakemake.log[0])
inputs, params = snakemake.input, snakemake.params
index = read_table(inputs.index, ["collection"])
frames = read_predictions(
    inputs.predictions,
    kept_classes(inputs.countries),
    params.datasets,
    set(index.collection) - {"street"},
)
predictions = [(*row, frame) for row, frame in zip(params.rows, frames, strict=True)]
tables = {"accuracy": accuracy_by_country(predictions), "confusion": confusion(predictions)}
for name, table in tables.items():
    with atomic_path(snakemake.output[name]) as temporary:
        table.to_csv(temporary, index=False)
log.info("%d accuracies of countries", len(tables["accuracy"]))
