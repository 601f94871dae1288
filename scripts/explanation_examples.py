"""Figure: images as a model sees them, their score maps and what its answers rest on."""

import numpy as np

from geoloc.evaluation.figures import save
from geoloc.explain.figure import Example, check_answers, choose, explanation_figure
from geoloc.explain.tables import read_row_tables
from geoloc.logs import start_log
from geoloc.stores import Arrays, by_name, dataset_arrays, read_explanations
from geoloc.tables import read_csv
from geoloc.weighting import make_view

start_log(snakemake.log[0])
params, inputs = snakemake.params, snakemake.input
scores = by_name(list(dict.fromkeys(params.scores)), inputs.scores)
trusted = read_csv(inputs.faithfulness, dtype=str, na_values=[])
trusted = trusted[trusted["shown"] == "True"]
examples = []
for (model, dataset, seed, checks), maps, of_row in zip(
    read_row_tables(params.rows, inputs.checks), inputs.maps, params.scores, strict=True
):
    view = make_view(params.views[dataset])
    seen = dataset_arrays(inputs.street, scores, view, "test", params.index_folder, params.seed)
    own = Arrays(inputs.street, "test", params.index_folder, scores[of_row])
    own_row = (trusted[["model", "dataset", "seed"]] == [model, dataset, seed]).all(axis=1)
    chosen = choose(checks, params.seed)
    probability = checks.drop_duplicates("image_id").set_index("image_id")["probability"]
    for explanation in read_explanations(maps):
        if explanation.image_id in chosen:
            check_answers(maps, explanation, checks)
            row = np.flatnonzero(seen.image_id == explanation.image_id)
            examples.append(
                Example(
                    params.dataset_titles[dataset],
                    view(*seen.read(row))[0],
                    own.read(row)[1][0],
                    explanation,
                    probability[explanation.image_id],
                    set(trusted["method"][own_row]),
                )
            )
save(explanation_figure(params.title, examples), snakemake.output.figure)
