"""Evaluate a trained Keras model on all test sets."""

from pathlib import Path

import pandas as pd

from geoloc import keras_setup
from geoloc.files import atomic_path
from geoloc.index import kept_classes
from geoloc.keras_predict import load_trained, predict
from geoloc.logs import start_log
from geoloc.predictions import TEST_SETS, predictions_frame
from geoloc.stores import Arrays
from geoloc.weighting import DATASETS

start_log(snakemake.log[0])
params = snakemake.params
keras_setup.setup(params.seed, snakemake.threads)
classes = kept_classes(snakemake.input.countries)
trained = load_trained(Path(snakemake.input.model).parent, classes)
street, benchmark = Arrays(snakemake.input.street, "test"), Arrays(snakemake.input.benchmarks)
frames = []
for test_set in TEST_SETS:
    arrays, dataset = (street, test_set) if test_set in DATASETS else (benchmark, "original")
    factor = params.factor["weighted_custom"]
    probabilities = predict(trained, arrays, dataset, factor, params.batch_size)
    columns = (arrays.image_id, arrays.source, arrays.label, arrays.latitude, arrays.longitude)
    frames.append(predictions_frame(probabilities, classes, *columns, test_set))
with atomic_path(snakemake.output.predictions) as temporary:
    pd.concat(frames).to_parquet(temporary, index=False)
