"""Evaluate a CLIP model, zero-shot, on all test sets."""

from contextlib import ExitStack

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
from geoloc.stores import by_name, open_score_maps, score_key
from geoloc.weighting import UNCHANGED, make_view

start_log(snakemake.log[0])
use_threads(snakemake.threads)
params, inputs = snakemake.params, snakemake.input
classes = kept_classes(inputs.countries)
check_classes(inputs.model, classes)
index = pd.read_parquet(inputs.index).set_index("image_id", drop=False)
index = index[index.split == "test"]
model = ClipZeroShot(inputs.model, [display_name(c) for c in classes], params.prompt)
views = {name: make_view(settings) for name, settings in params.views.items()}
scores = by_name(params.scores, inputs.scores)


def predict(stores: list, views: dict, maps: dict) -> tuple[dict[str, np.ndarray], list]:
    """Probabilities by test set, and the columns of the images."""
    items = read_full_size(stores, set(index.image_id), params.index_folder, maps)
    keyed = {name: (view, score_key(view)) for name, view in views.items()}
    image_ids, probabilities = predict_images(model, items, keyed, params.batch_size)
    rows = index.loc[np.array(image_ids, object)]
    names = ("image_id", "source", "country", "latitude", "longitude")
    return probabilities, [rows[name].to_numpy() for name in names]


with ExitStack() as stack:
    maps = open_score_maps(
        stack, inputs.street, scores, views.values(), params.index_folder, params.seed
    )
    probabilities, columns = predict(inputs.street, views, maps)
frames = [predictions_frame(probabilities[name], classes, *columns, name) for name in views]
probabilities, columns = predict(inputs.test_sets, {"photographs": UNCHANGED}, {})
frames += frames_of_test_sets(probabilities["photographs"], classes, *columns, params.test_sets)
with atomic_path(snakemake.output.predictions) as temporary:
    pd.concat(frames).to_parquet(temporary, index=False)
