"""Figure: accuracies with their intervals against the majority baseline."""

import pandas as pd

from geoloc.evaluation.figures import accuracy_figure, save
from geoloc.logs import start_log

start_log(snakemake.log[0])
metrics = pd.read_csv(snakemake.input.metrics, keep_default_na=False, na_values=[""])
params = snakemake.params
figure = accuracy_figure(
    metrics, params.model_titles, params.dataset_titles, params.test_set_titles
)
save(figure, snakemake.output.figure)
