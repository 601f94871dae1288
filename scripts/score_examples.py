"""Figure: images, their score maps and the weighted datasets made of them (Fig. 2)."""

from pathlib import Path

from geoloc.evaluation.examples import choose_examples
from geoloc.evaluation.figures import figure2, save
from geoloc.logs import start_log
from geoloc.weighting import dataset_factor

start_log(snakemake.log[0])
pairs = zip(snakemake.input.images, snakemake.input.scores, strict=True)
shards = [(Path(images).parent.name, Path(images), Path(scores)) for images, scores in pairs]
params = snakemake.params
examples = choose_examples(shards, params.examples, params.seed, params.index_folder)
custom = params.weighting["weighted_custom"]
figure = figure2(
    examples, dataset_factor("weighted_base"), dataset_factor("weighted_custom", custom)
)
save(figure, snakemake.output.figure)
