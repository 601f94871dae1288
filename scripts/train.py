"""Train a Keras model on one of the three datasets."""

from pathlib import Path

from geoloc import keras_setup  # noqa: F401  sets up TensorFlow before Keras is imported
from geoloc.augmentation import Augmentation
from geoloc.index import kept_classes
from geoloc.logs import start_log
from geoloc.stores import Arrays
from geoloc.training import TrainingParameters, train

start_log(snakemake.log[0])
params = snakemake.params
train(
    snakemake.wildcards.model,
    snakemake.wildcards.dataset,
    Arrays(snakemake.input.arrays, "train", params.index_folder),
    Arrays(snakemake.input.arrays, "val", params.index_folder),
    kept_classes(snakemake.input.countries),
    Path(snakemake.output.model).parent,
    params.seed,
    TrainingParameters(
        **params.train | {"augmentation": Augmentation(**params.train["augmentation"])}
    ),
    params.model,
    params.weighting["weighted_custom"],
    snakemake.threads,
)
