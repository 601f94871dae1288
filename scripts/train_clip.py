"""Train a CLIP from scratch on captions of the training images."""

from geoloc.corpus.index_tables import kept_classes
from geoloc.countries.names import display_name
from geoloc.explain.random_labels import ShuffledLabels
from geoloc.image_text.training import ClipParameters, train_clip
from geoloc.logs import start_log
from geoloc.pytorch.device import check_device, use_threads
from geoloc.stores import by_name, dataset_arrays, read_lists
from geoloc.weighting import make_view

start_log(snakemake.log[0])
use_threads(snakemake.threads)
check_device(snakemake.params.allow_cpu)
params, inputs = snakemake.params, snakemake.input
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
train_clip(
    snakemake.output.model,
    train_arrays,
    val_arrays,
    {country: display_name(country) for country in kept_classes(inputs.countries)},
    ClipParameters(**params.model),
    snakemake.wildcards.dataset,
    view,
    int(snakemake.wildcards.seed),
    entry=snakemake.wildcards.model,
)
