"""The tables of what was found, of all score maps in one, and what the datasets leave visible."""

import pandas as pd

from geoloc.evaluation.found import visible_table
from geoloc.files import atomic_path
from geoloc.logs import start_log
from geoloc.tables import read_csv
from geoloc.weighting import make_view

start_log(snakemake.log[0])

tables = {
    name: pd.concat([read_csv(path, dtype=str, na_values=[]) for path in paths])
    for name, paths in (
        ("classes", snakemake.input.classes),
        ("countries", snakemake.input.countries),
    )
}
visible = []
for name, path in zip(snakemake.params.scores, snakemake.input.histograms, strict=True):
    views = {
        dataset: make_view(settings)
        for dataset, settings in snakemake.params.views.items()
        if settings["scores"] == name
    }
    if views:
        visible.append(visible_table(read_csv(path, na_values={"mean_score": [""]}), views))
        visible[-1].insert(0, "scores", name)
tables["visible"] = pd.concat(visible)
for name, table in tables.items():
    with atomic_path(snakemake.output[name]) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
