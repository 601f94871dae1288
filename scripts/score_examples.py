"""Figure: images, their score maps and the weighted datasets made from them (Fig. 2)."""

from pathlib import Path

from geoloc.evaluation.examples import choose_examples
from geoloc.evaluation.figures import figure2, save
from geoloc.logs import start_log
from geoloc.weighting import make_view

start_log(snakemake.log[0])
pairs = zip(snakemake.input.images, snakemake.input.scores, strict=True)
shards = [(Path(images).parent.name, Path(images), Path(scores)) for images, scores in pairs]
params = snakemake.params
examples = choose_examples(shards, params.examples, params.seed, params.index_folder)
views = {title: make_view(settings) for title, settings in params.views.items()}
save(figure2(examples, views), snakemake.output.figure)
