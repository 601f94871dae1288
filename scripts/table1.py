"""Table 1: accuracy of every model on every test set."""

from geoloc.corpus.index_tables import kept_classes, majority_country
from geoloc.countries.names import display_name
from geoloc.evaluation.read_predictions import read_predictions
from geoloc.evaluation.table1 import baselines, format_table, table1, table1_seeds
from geoloc.files import atomic_path, write_text
from geoloc.logs import start_log

log = start_log(snakemake.log[0])
params, inputs = snakemake.params, snakemake.input
frames = read_predictions(
    inputs.predictions, kept_classes(inputs.countries), params.datasets, params.columns
)
rows = [
    (params.model_titles[model], params.dataset_titles[dataset], seed, frame)
    for (model, dataset, seed), frame in zip(params.rows, frames, strict=True)
]
table = table1(rows, params.columns)
results = {"table": table, "seeds": table1_seeds(rows, params.columns)}
for name, result in results.items():
    with atomic_path(snakemake.output[name]) as temporary:
        result.to_csv(temporary, index=False)
majority = majority_country(inputs.countries)
baseline = baselines(frames[0], majority)
text = format_table(table, baseline, display_name(majority), params.columns)
write_text(snakemake.output.text, text + "\n")
log.info("\n%s", text)
