"""Table 1: accuracy of every model on every test set."""

from geoloc.corpus.index_tables import kept_classes, majority_country
from geoloc.countries.names import display_name
from geoloc.evaluation.read_predictions import read_predictions
from geoloc.evaluation.table1 import DATASET_TITLES, baselines, format_table, table1
from geoloc.files import atomic_path, write_text
from geoloc.logs import start_log

log = start_log(snakemake.log[0])
classes = kept_classes(snakemake.input.countries)
frames = read_predictions(snakemake.input.predictions, classes, snakemake.params.test_sets)
table = table1(
    (
        (snakemake.params.titles[model], DATASET_TITLES[dataset], frame)
        for (model, dataset), frame in zip(snakemake.params.rows, frames, strict=True)
    ),
    snakemake.params.test_sets,
)
with atomic_path(snakemake.output.table) as temporary:
    table.to_csv(temporary, index=False)
majority = majority_country(snakemake.input.countries)
text = format_table(
    table, baselines(frames[0], majority), display_name(majority), snakemake.params.test_sets
)
write_text(snakemake.output.text, text + "\n")
log.info("\n%s", text)
