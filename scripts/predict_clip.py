"""Evaluate a CLIP model, zero-shot, on all test sets."""

from geoloc.corpus.index_tables import kept_classes
from geoloc.countries.names import display_name
from geoloc.evaluation.full_size import predictions_at_full_size
from geoloc.files import atomic_path
from geoloc.image_text.zero_shot import ClipZeroShot, check_classes
from geoloc.logs import start_log
from geoloc.pytorch.device import check_device, use_threads
from geoloc.stores import by_name
from geoloc.tables import read_table
from geoloc.weighting import make_view

start_log(snakemake.log[0])
use_threads(snakemake.threads)
check_device(snakemake.params.allow_cpu)
params, inputs = snakemake.params, snakemake.input
classes = kept_classes(inputs.countries)
check_classes(inputs.model, classes)
table = predictions_at_full_size(
    ClipZeroShot(inputs.model, [display_name(c) for c in classes], params.prompt),
    classes,
    read_table(inputs.index),
    inputs.street,
    by_name(params.scores, inputs.scores),
    by_name(params.crops, inputs.boxes),
    {name: make_view(settings) for name, settings in params.views.items()},
    inputs.test_sets,
    params.test_sets,
    params.batch_size,
    params.index_folder,
    params.seed,
)
with atomic_path(snakemake.output.predictions) as temporary:
    table.to_parquet(temporary, index=False)
