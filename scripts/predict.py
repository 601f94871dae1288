"""Evaluate a trained Keras model on all test sets."""

from pathlib import Path

import pandas as pd

from geoloc.corpus.index_tables import kept_classes
from geoloc.evaluation.predictions import frames_of_test_sets, predictions_frame
from geoloc.files import atomic_path
from geoloc.keras_models import runtime
from geoloc.keras_models.predict import load_trained, predict
from geoloc.logs import start_log
from geoloc.stores import Arrays, by_name, dataset_arrays
from geoloc.weighting import make_view

start_log(snakemake.log[0])
params, inputs = snakemake.params, snakemake.input
runtime.setup(params.seed, snakemake.threads)
classes = kept_classes(inputs.countries)
trained = load_trained(Path(inputs.model).parent, classes)
scores = by_name(params.scores, inputs.scores)


def columns(arrays: Arrays) -> tuple:
    return arrays.image_id, arrays.source, arrays.label, arrays.latitude, arrays.longitude


frames = []
for dataset, settings in params.views.items():
    view = make_view(settings)
    street = dataset_arrays(inputs.street, scores, view, "test", params.index_folder, params.seed)
    probabilities = predict(trained, street, dataset, view, params.batch_size)
    frames.append(predictions_frame(probabilities, classes, *columns(street), dataset))
photographs = Arrays(inputs.test_sets, index=params.index_folder)
probabilities = predict(trained, photographs, "photographs", batch_size=params.batch_size)
frames += frames_of_test_sets(probabilities, classes, *columns(photographs), params.test_sets)
with atomic_path(snakemake.output.predictions) as temporary:
    pd.concat(frames).to_parquet(temporary, index=False)
