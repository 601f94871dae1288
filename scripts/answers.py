"""Answers to the study's questions, with intervals and tests, and their verdict."""

from geoloc.corpus.index_tables import kept_classes, majority_country
from geoloc.evaluation.answers import (
    answers,
    as_records,
    near_duplicate_ids,
    write_json,
)
from geoloc.evaluation.evidence import Evidence
from geoloc.evaluation.intervals import authors_of_images
from geoloc.evaluation.read_predictions import read_predictions
from geoloc.evaluation.verdict import verdict
from geoloc.files import atomic_path, write_text
from geoloc.logs import start_log
from geoloc.tables import read_table

log = start_log(snakemake.log[0])
inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
index = read_table(inputs.index, columns=["image_id", "source", "collection", "author"])
frames = read_predictions(
    inputs.predictions,
    kept_classes(inputs.countries),
    params.datasets,
    set(index.collection) - {"street"},
)
leakage = read_table(inputs.leakage)
table = answers(
    Evidence(
        predictions=[(*row, frame) for row, frame in zip(params.rows, frames, strict=True)],
        **params.settings,
        majority=majority_country(inputs.countries),
        near_duplicates=near_duplicate_ids(
            leakage, params.near_duplicate_bits, set(frames[0]["image_id"])
        ),
        authors=authors_of_images(index),
        seed=params.seed,
    )
)
with atomic_path(outputs.table) as temporary:
    table.to_csv(temporary, index=False)
write_json(outputs.records, table)
text = verdict(as_records(table))
write_text(outputs.verdict, text + "\n")
log.info("%d answers. %s", len(table), text)
