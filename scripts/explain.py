"""Explain the answers of a trained Keras model on a sample of its own test images."""

from pathlib import Path

from geoloc.corpus.index_tables import kept_classes
from geoloc.explain.changes import Pictures
from geoloc.explain.keras_probe import KerasProbe
from geoloc.explain.methods import Settings
from geoloc.explain.objects import class_maps
from geoloc.explain.row import explain_row
from geoloc.explain.sample import sample_rows
from geoloc.explain.tables import write_row_table
from geoloc.keras_models import runtime
from geoloc.keras_models.batches import class_index
from geoloc.keras_models.cells import load_places
from geoloc.keras_models.predict import load_trained
from geoloc.logs import start_log
from geoloc.matrix import Row
from geoloc.model_record import check_row
from geoloc.segmentation.scoring import read_selected
from geoloc.segmentation.vocabularies import vocabulary
from geoloc.stores import Arrays, dataset_arrays, read_lists, write_explanations
from geoloc.tables import read_table
from geoloc.weighting import make_view

start_log(snakemake.log[0])
params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output
runtime.check_device(params.allow_cpu)
runtime.setup(params.seed, snakemake.threads)
settings, dataset = Settings(**params.explain), snakemake.wildcards.dataset
classes, folder = kept_classes(inputs.countries), Path(inputs.model).parent
check_row(folder, Row.of(snakemake.wildcards), params.view)
if inputs.get("cells"):
    trained = load_trained(folder)
    places = load_places(folder, trained.classes, classes)
else:
    trained, places = load_trained(folder, classes, inputs.get("code") or None), None

view = make_view(params.view)
images, scores = read_lists(inputs.street), read_lists(inputs.scores)
seen = dataset_arrays(images, {view.scores: scores}, view, "test", params.index_folder, params.seed)
own = Arrays(images, "test", params.index_folder, scores)
predictions = read_table(inputs.predictions)
rows = sample_rows(seen.image_id, seen.label, predictions, dataset, settings.images, params.seed)
pictures = Pictures(
    seen.image_id[rows],
    view(*seen.read(rows)),
    own.read(rows)[1] > 0,
    class_index(seen.label[rows], classes),
)
selected = read_selected(inputs.selected, params.ambiguous_classes, params.vocabulary)
maps = class_maps(
    read_lists(inputs.segments),
    set(pictures.image_id),
    selected,
    params.minimum,
    params.index_folder,
)
misled = None
if inputs.get("random_labels"):
    folder = Path(inputs.random_labels).parent
    other = load_trained(folder, trained.classes, inputs.get("code") or None)
    misled = KerasProbe(other.model, places)
found = explain_row(
    KerasProbe(trained.model, places),
    pictures,
    classes,
    maps,
    vocabulary(params.vocabulary),
    settings,
    params.seed,
    misled,
)
write_explanations(outputs.maps, found.explanations, params.explain)
for name in ("influence", "changes", "checks"):
    write_row_table(outputs[name], getattr(found, name), Row.of(snakemake.wildcards))
