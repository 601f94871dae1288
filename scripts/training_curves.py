"""Figure: loss and accuracy by epoch."""

from pathlib import Path

from geoloc.corpus.index_tables import majority_country
from geoloc.evaluation.figures import save, training_curves
from geoloc.logs import start_log
from geoloc.tables import read_rows, read_table

start_log(snakemake.log[0])
inputs, params = snakemake.input, snakemake.params
paths = [*inputs.histories, *(Path(folder, "history.csv") for folder in inputs.clips)]
histories = [
    (model, dataset, read_table(path))
    for (model, dataset), path in zip(params.titles, paths, strict=True)
]
countries = {row["country"]: int(row["val"]) for row in read_rows(inputs.countries)}
majority = countries[majority_country(inputs.countries)] / sum(countries.values())
save(training_curves(histories, majority, params.captioned), snakemake.output.figure)
