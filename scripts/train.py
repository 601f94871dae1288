"""Train a Keras model on a dataset."""

from pathlib import Path

from geoloc.corpus.index_tables import kept_classes
from geoloc.countries.cells import FILE as CELLS
from geoloc.explain.random_labels import ShuffledLabels
from geoloc.keras_models import runtime
from geoloc.keras_models.augmentation import Augmentation
from geoloc.keras_models.cells import divide_options, label_with_cells
from geoloc.keras_models.training import TrainingParameters, train
from geoloc.logs import start_log
from geoloc.stores import by_name, dataset_arrays, read_lists
from geoloc.weighting import make_view

start_log(snakemake.log[0])
params, inputs = snakemake.params, snakemake.input
runtime.check_device(params.allow_cpu)
view = make_view(params.view)
arrays = read_lists(inputs.arrays)
scores = by_name(params.scores, read_lists(inputs.scores))
crops = by_name(params.crops, read_lists(inputs.crops))
train_arrays, val_arrays = (
    dataset_arrays(arrays, scores, view, split, params.index_folder, params.seed, crops)
    for split in ("train", "val")
)
if params.get("random_labels"):
    # They can only be learned by heart, so the epoch that knows most of them is kept.
    train_arrays = val_arrays = ShuffledLabels(train_arrays, int(snakemake.wildcards.seed))
classes, folder = kept_classes(inputs.countries), Path(snakemake.output.model).parent
files = []
network, options = params.model["kind"], {k: v for k, v in params.model.items() if k != "kind"}
if network == "cells":
    network, options, settings = divide_options(options)
    train_arrays, val_arrays, classes = label_with_cells(
        train_arrays, val_arrays, classes, folder, settings, params.geocoder
    )
    files.append(CELLS)
train(
    network,
    snakemake.wildcards.dataset,
    train_arrays,
    val_arrays,
    classes,
    folder,
    int(snakemake.wildcards.seed),
    TrainingParameters(
        **params.train | {"augmentation": Augmentation(**params.train["augmentation"])}
    ),
    options,
    view,
    snakemake.threads,
    snakemake.wildcards.model,
    files,
)
