"""report.html: the question, the verdict, Table 1 and everything behind them on one page."""

from pathlib import Path

from geoloc.files import write_text
from geoloc.logs import start_log
from geoloc.matrix import Row
from geoloc.report.page import render
from geoloc.report.run_record import read_record
from geoloc.report.tables import Run

log = start_log(snakemake.log[0])
inputs, params = snakemake.input, snakemake.params
given = {name: Path(inputs[name]) for name in params.tables if inputs.get(name)}
for kind in ("examples", "found", "explanations"):
    given |= {f"{kind}/{Path(path).stem}": Path(path) for path in inputs.get(kind, [])}
paths = [*inputs.histories, *(Path(folder, "history.csv") for folder in inputs.clips)]
histories = {Row(*row): Path(path) for row, path in zip(params.trained, paths, strict=True)}
run = Run(
    params.config,
    given,
    histories,
    read_record(inputs.record),
    params.differences,
    params.published_titles,
)
page = render(run, params.study, inputs.index, params.weights)
write_text(snakemake.output.page, page)
log.info("%.1f MB", len(page.encode()) / 1e6)
