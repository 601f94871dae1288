"""Figure: loss and accuracy of each epoch."""

from pathlib import Path

import pandas as pd

from geoloc.figures import save, training_curves
from geoloc.index import majority_country, read_rows
from geoloc.logs import start_log

start_log(snakemake.log[0])
rows = zip(snakemake.params.rows, snakemake.input.histories, strict=True)
countries = {row["country"]: int(row["val"]) for row in read_rows(snakemake.input.countries)}
majority = countries[majority_country(snakemake.input.countries)] / sum(countries.values())
histories = [(model, dataset, pd.read_csv(path)) for (model, dataset), path in rows]
if snakemake.input.clip:
    clip = pd.read_csv(Path(snakemake.input.clip, "history.csv"))
    histories.append(("clip", "original", clip))
save(training_curves(histories, majority), snakemake.output.figure)
