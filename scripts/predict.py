"""Evaluate a trained Keras model on all test sets."""

from pathlib import Path

import pandas as pd

from geoloc.corpus.index_tables import kept_classes
from geoloc.countries.places import Answers
from geoloc.evaluation.predictions import frames_of_test_sets, predictions_frame, write_table
from geoloc.files import atomic_path
from geoloc.keras_models import runtime
from geoloc.keras_models.cells import load_places
from geoloc.keras_models.predict import load_trained, predict, predict_places
from geoloc.logs import start_log
from geoloc.matrix import Row
from geoloc.model_record import check_row
from geoloc.stores import Arrays, by_name, dataset_arrays, read_lists
from geoloc.weighting import UNCHANGED, View, make_view

start_log(snakemake.log[0])
params, inputs = snakemake.params, snakemake.input
runtime.check_device(params.allow_cpu)
runtime.setup(params.seed, snakemake.threads)
classes = kept_classes(inputs.countries)
folder, row = Path(inputs.model).parent, Row.of(snakemake.wildcards)
check_row(folder, row, params.views.get(row.dataset))
if inputs.get("cells"):
    trained = load_trained(folder)
    places = load_places(folder, trained.classes, classes)
else:
    trained, places = load_trained(folder, classes, inputs.get("code") or None), None
images = read_lists(inputs.street)
scores = by_name(params.scores, read_lists(inputs.scores))
crops = by_name(params.crops, read_lists(inputs.crops))


def columns(arrays: Arrays) -> tuple:
    return arrays.image_id, arrays.source, arrays.label, arrays.latitude, arrays.longitude


def answers(arrays: Arrays, test_set: str, view: View) -> Answers:
    if places is None:
        return Answers(predict(trained, arrays, test_set, view, params.batch_size))
    return predict_places(trained, places, arrays, test_set, view, params.batch_size)


frames = []
for dataset, settings in params.views.items():
    view = make_view(settings)
    street = dataset_arrays(images, scores, view, "test", params.index_folder, params.seed, crops)
    found = answers(street, dataset, view)
    frames.append(
        predictions_frame(
            found.probabilities, classes, *columns(street), dataset, places=found.places
        )
    )
photographs = Arrays(read_lists(inputs.test_sets), index=params.index_folder)
found = answers(photographs, "photographs", UNCHANGED)
frames += frames_of_test_sets(
    found.probabilities, classes, *columns(photographs), params.test_sets, found.places
)
with atomic_path(snakemake.output.predictions) as temporary:
    write_table(temporary, pd.concat(frames), row)
