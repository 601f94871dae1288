"""Figure: accuracies with their intervals against the majority baseline."""

from geoloc.evaluation.figures import accuracy_figure, save
from geoloc.logs import start_log
from geoloc.tables import read_table

start_log(snakemake.log[0])
metrics = read_table(snakemake.input.metrics)
params = snakemake.params
figure = accuracy_figure(
    metrics, params.model_titles, params.dataset_titles, params.test_set_titles
)
save(figure, snakemake.output.figure)
