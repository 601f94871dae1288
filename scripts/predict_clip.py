"""Evaluate a CLIP model, zero-shot, on all test sets."""

from geoloc.corpus.index_tables import kept_classes
from geoloc.countries.names import display_name
from geoloc.evaluation.full_size import write_predictions
from geoloc.image_text.zero_shot import ClipZeroShot, check_classes
from geoloc.logs import start_log
from geoloc.matrix import Row
from geoloc.model_record import check_row
from geoloc.pytorch.device import check_device, use_threads

start_log(snakemake.log[0])
use_threads(snakemake.threads)
check_device(snakemake.params.allow_cpu)
params, inputs = snakemake.params, snakemake.input
classes, row = kept_classes(inputs.countries), Row.of(snakemake.wildcards)
check_row(inputs.model, row, params.views.get(row.dataset))
check_classes(inputs.model, classes)
model = ClipZeroShot(inputs.model, [display_name(c) for c in classes], params.prompt)
write_predictions(model, classes, inputs, params, snakemake.output.predictions, row)
