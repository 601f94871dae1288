"""Train a CLIP from scratch on captions of the training images."""

from geoloc.corpus.index_tables import kept_classes
from geoloc.countries.names import display_name
from geoloc.image_text.training import ClipParameters, train_clip
from geoloc.logs import start_log
from geoloc.pytorch.device import use_threads
from geoloc.stores import Arrays

start_log(snakemake.log[0])
use_threads(snakemake.threads)
params = snakemake.params
train_clip(
    snakemake.output.model,
    Arrays(snakemake.input.arrays, "train", params.index_folder),
    Arrays(snakemake.input.arrays, "val", params.index_folder),
    {country: display_name(country) for country in kept_classes(snakemake.input.countries)},
    ClipParameters(**params.model),
    params.dataset,
    params.weighting["weighted_custom"],
    params.seed,
)
