"""Figure: accuracies with their intervals against the majority baseline."""

import pandas as pd

from geoloc.evaluation.figures import accuracy_figure, save
from geoloc.logs import start_log

start_log(snakemake.log[0])
metrics = pd.read_csv(snakemake.input.metrics, keep_default_na=False, na_values=[""])
params = snakemake.params
save(accuracy_figure(metrics, params.titles, params.test_sets), snakemake.output.figure)
