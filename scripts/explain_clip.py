"""Explain the answers of a CLIP on a sample of test images."""

from geoloc.corpus.index_tables import kept_classes
from geoloc.countries.names import display_name
from geoloc.explain.clip_probe import ClipProbe
from geoloc.explain.full_size import listed_test_images, read_pictures
from geoloc.explain.methods import Settings
from geoloc.explain.objects import class_maps
from geoloc.explain.row import explain_row
from geoloc.explain.sample import sample_rows
from geoloc.explain.tables import write_row_table
from geoloc.image_text.zero_shot import ClipZeroShot, check_classes
from geoloc.logs import start_log
from geoloc.matrix import Row
from geoloc.model_record import check_row
from geoloc.pytorch.device import check_device, use_threads
from geoloc.segmentation.scoring import read_selected
from geoloc.segmentation.vocabularies import vocabulary
from geoloc.stores import read_lists, write_explanations
from geoloc.tables import read_table
from geoloc.weighting import make_view

start_log(snakemake.log[0])
use_threads(snakemake.threads)
check_device(snakemake.params.allow_cpu)
params, inputs, outputs = snakemake.params, snakemake.input, snakemake.output
settings, classes = Settings(**params.explain), kept_classes(inputs.countries)
check_row(inputs.model, Row.of(snakemake.wildcards), params.view)
check_classes(inputs.model, classes)


def load_probe(folder: str) -> ClipProbe:
    return ClipProbe(ClipZeroShot(folder, [display_name(c) for c in classes], params.prompt))


probe = load_probe(inputs.model)
misled = load_probe(inputs.random_labels) if inputs.get("random_labels") else None

images = read_lists(inputs.street)
image_id, label = listed_test_images(images, read_table(inputs.index), params.index_folder)
predictions = read_table(inputs.predictions)
rows = sample_rows(image_id, label, predictions, params.test_set, settings.images, params.seed)
pictures = read_pictures(
    probe.seen,
    dict(zip(image_id[rows].tolist(), label[rows].tolist(), strict=True)),
    classes,
    images,
    read_lists(inputs.scores),
    make_view(params.view),
    params.index_folder,
    params.seed,
)
selected = read_selected(inputs.selected, params.ambiguous_classes, params.vocabulary)
maps = class_maps(
    read_lists(inputs.segments),
    set(pictures.image_id),
    selected,
    params.minimum,
    params.index_folder,
    probe.side,
)
found = explain_row(
    probe, pictures, classes, maps, vocabulary(params.vocabulary), settings, params.seed, misled
)
write_explanations(outputs.maps, found.explanations, params.explain)
for name in ("influence", "changes", "checks"):
    write_row_table(outputs[name], getattr(found, name), Row.of(snakemake.wildcards))
