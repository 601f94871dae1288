"""Evaluate a user's own model on all test sets."""

from geoloc.corpus.index_tables import kept_classes
from geoloc.evaluation.full_size import write_predictions
from geoloc.evaluation.user_model import UserModel
from geoloc.gpus import describe_machine
from geoloc.logs import start_log
from geoloc.matrix import Row

log = start_log(snakemake.log[0])
params, inputs = snakemake.params, snakemake.input
log.info("%s computes on a device of its own choice (%s)", inputs.file, describe_machine())
classes = kept_classes(inputs.countries)
model = UserModel(inputs.file, classes, params.geocoder, params.options)
row = Row.of(snakemake.wildcards)
write_predictions(model, classes, inputs, params, snakemake.output.predictions, row)
