"""Evaluate GeoCLIP on all test sets."""

from geoloc.coordinates.geoclip import GeoClip
from geoloc.corpus.index_tables import kept_classes
from geoloc.evaluation.full_size import write_predictions
from geoloc.logs import start_log
from geoloc.matrix import Row
from geoloc.pytorch.device import check_device, use_threads

start_log(snakemake.log[0])
use_threads(snakemake.threads)
check_device(snakemake.params.allow_cpu)
params, inputs = snakemake.params, snakemake.input
classes = kept_classes(inputs.countries)
model = GeoClip(classes, params.geocoder, inputs.model, inputs.gallery or None)
row = Row.of(snakemake.wildcards)
write_predictions(model, classes, inputs, params, snakemake.output.predictions, row)
