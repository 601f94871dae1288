"""Evaluate a CLIP model, zero-shot, on all test sets."""

import numpy as np
import pandas as pd

from geoloc.corpus.index_tables import kept_classes
from geoloc.countries.names import display_name
from geoloc.evaluation.predictions import frames_of_test_sets, predictions_frame
from geoloc.files import atomic_path
from geoloc.image_text.predict import predict_images, read_full_size
from geoloc.image_text.zero_shot import ClipZeroShot, check_classes
from geoloc.logs import start_log
from geoloc.pytorch.device import use_threads
from geoloc.weighting import DATASETS, dataset_factor

start_log(snakemake.log[0])
use_threads(snakemake.threads)
params, inputs = snakemake.params, snakemake.input
classes = kept_classes(inputs.countries)
check_classes(inputs.model, classes)
index = pd.read_parquet(inputs.index).set_index("image_id", drop=False)
index = index[index.split == "test"]
model = ClipZeroShot(inputs.model, [display_name(c) for c in classes], params.prompt)
custom = params.weighting["weighted_custom"]
factors = {name: dataset_factor(name, custom) for name in DATASETS} | {"original": None}

street = list(zip(inputs.street, inputs.scores, strict=True))
test_sets = [(path, None) for path in inputs.test_sets]


def predict(shards: list, views: dict) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Probabilities by view, and the columns of the images."""
    items = read_full_size(shards, set(index.image_id), params.index_folder)
    image_ids, probabilities = predict_images(model, items, views, params.batch_size)
    rows = index.loc[np.array(image_ids, object)]
    names = ("image_id", "source", "country", "latitude", "longitude")
    return probabilities, [rows[name].to_numpy() for name in names]


probabilities, columns = predict(street, factors)
frames = [predictions_frame(probabilities[name], classes, *columns, name) for name in factors]
probabilities, columns = predict(test_sets, {"original": None})
frames += frames_of_test_sets(probabilities["original"], classes, *columns, params.test_sets)
with atomic_path(snakemake.output.predictions) as temporary:
    pd.concat(frames).to_parquet(temporary, index=False)
