"""What a segmentation found: tables of its classes and countries, and a figure of examples."""

from pathlib import Path

from geoloc.evaluation.examples import Naming
from geoloc.evaluation.figures import save
from geoloc.evaluation.found import (
    Found,
    ObjectTable,
    classes_table,
    countries_table,
    describe,
    histogram_table,
)
from geoloc.evaluation.found_examples import Examples, examples_figure
from geoloc.files import atomic_path
from geoloc.logs import start_log
from geoloc.segmentation.scoring import read_selected
from geoloc.segmentation.vocabularies import vocabulary

start_log(snakemake.log[0])
params, names = snakemake.params, ("images", "segments", "scores")
paths = zip(*(map(Path, snakemake.input[name]) for name in names), strict=True)
shards = [(images.parent.name, images, *others) for images, *others in paths]
selected = read_selected(snakemake.input.classes, params.ambiguous_classes, params.vocabulary)
examples = Examples(params.examples)
naming = Naming(vocabulary(params.vocabulary), selected, params.minimum)
found = Found(naming, examples)
with atomic_path(snakemake.output.objects) as temporary, ObjectTable(temporary) as objects:
    describe(shards, found, params.index_folder, objects.write)
for name, table in {
    "classes": classes_table(found),
    "countries": countries_table(found),
    "histogram": histogram_table(found),
}.items():
    table.insert(0, "scores", snakemake.wildcards.scores)
    with atomic_path(snakemake.output[name]) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
figure = examples_figure(examples, naming.names, params.classes, params.index_folder)
save(figure, snakemake.output.figure)
