"""Evaluate a trained Keras model on all test sets."""

from pathlib import Path

import pandas as pd

from geoloc.corpus.index_tables import kept_classes
from geoloc.evaluation.predictions import frames_of_test_sets, predictions_frame
from geoloc.files import atomic_path
from geoloc.keras_models import runtime
from geoloc.keras_models.predict import load_trained, predict
from geoloc.logs import start_log
from geoloc.stores import Arrays
from geoloc.weighting import DATASETS

start_log(snakemake.log[0])
params = snakemake.params
runtime.setup(params.seed, snakemake.threads)
classes = kept_classes(snakemake.input.countries)
trained = load_trained(Path(snakemake.input.model).parent, classes)
custom = params.weighting["weighted_custom"]


def columns(arrays: Arrays) -> tuple:
    return arrays.image_id, arrays.source, arrays.label, arrays.latitude, arrays.longitude


frames = []
street = Arrays(snakemake.input.street, "test", params.index_folder)
for dataset in DATASETS:
    probabilities = predict(trained, street, dataset, custom, params.batch_size)
    frames.append(predictions_frame(probabilities, classes, *columns(street), dataset))
photographs = Arrays(snakemake.input.test_sets, index=params.index_folder)
probabilities = predict(trained, photographs, "original", custom, params.batch_size)
frames += frames_of_test_sets(probabilities, classes, *columns(photographs), params.test_sets)
with atomic_path(snakemake.output.predictions) as temporary:
    pd.concat(frames).to_parquet(temporary, index=False)
