"""Figure: images, their segments, score maps and weighted datasets (Fig. 2)."""

from pathlib import Path

from geoloc.evaluation.examples import Naming, choose_examples
from geoloc.evaluation.figures import figure2, save
from geoloc.logs import start_log
from geoloc.segmentation.scoring import read_selected
from geoloc.segmentation.vocabularies import vocabulary
from geoloc.weighting import make_view

start_log(snakemake.log[0])
params, kinds = snakemake.params, ("images", "segments", "scores")
paths = zip(*(map(Path, snakemake.input[kind]) for kind in kinds), strict=True)
shards = [(images.parent.name, images, *others) for images, *others in paths]
selected = read_selected(snakemake.input.classes, params.ambiguous_classes, params.vocabulary)
naming = Naming(vocabulary(params.vocabulary), selected, params.minimum)
examples = choose_examples(shards, naming, params.examples, params.seed, params.index_folder)
views = {title: make_view(settings) for title, settings in params.views.items()}
save(figure2(examples, views), snakemake.output.figure)
