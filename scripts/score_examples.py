"""Figure: images, their score maps and the weighted datasets made of them (Fig. 2)."""

from pathlib import Path

from geoloc.examples import choose_examples
from geoloc.figures import figure2, save
from geoloc.logs import start_log
from geoloc.weighting import dataset_factor

start_log(snakemake.log[0])
pairs = zip(snakemake.input.images, snakemake.input.masks, strict=True)
shards = [(Path(images).parent.name, Path(images), Path(masks)) for images, masks in pairs]
examples = choose_examples(shards, snakemake.params.examples, snakemake.params.seed)
custom = snakemake.params.weighting["weighted_custom"]
figure = figure2(
    examples, dataset_factor("weighted_base"), dataset_factor("weighted_custom", custom)
)
save(figure, snakemake.output.figure)
