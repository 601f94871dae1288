"""Train a Keras model on one of the three datasets."""

from pathlib import Path

from geoloc.corpus.index_tables import kept_classes
from geoloc.keras_models.augmentation import Augmentation
from geoloc.keras_models.training import TrainingParameters, train
from geoloc.logs import start_log
from geoloc.stores import Arrays

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
