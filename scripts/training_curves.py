"""Figure: loss and accuracy of each epoch."""

from pathlib import Path

import pandas as pd

from geoloc.corpus.index_tables import majority_country, read_rows
from geoloc.evaluation.figures import save, training_curves
from geoloc.logs import start_log

start_log(snakemake.log[0])
inputs, params = snakemake.input, snakemake.params
paths = [*inputs.histories, *(Path(folder, "history.csv") for folder in inputs.clips)]
histories = [
    (model, dataset, pd.read_csv(path))
    for (model, dataset), path in zip(params.titles, paths, strict=True)
]
countries = {row["country"]: int(row["val"]) for row in read_rows(inputs.countries)}
majority = countries[majority_country(inputs.countries)] / sum(countries.values())
save(training_curves(histories, majority, params.captioned), snakemake.output.figure)
