# Figures, the record of the run, and the report. `snakemake --report` makes another one, of the rules.

from geoloc.config import default_config
from geoloc.evaluation.study import study_titles
from geoloc.matrix import answer_settings
from geoloc.report.code_version import code_version

KERAS_ROWS = rows(config, "keras_models")
CLIP_ROWS = rows(config, "image_text", trained=True)


rule score_examples:
    input:
        images=of_shards("<results>/images/{collection}/{country}/{shard}.h5", "street"),
        scores=scores_of(
            "<results>/scores/{scores}/{country}/{shard}.h5",
            lambda wildcards: [wildcards.scores],
        ),
        segments=all_segments_to_score,
        classes=class_list,
        vocabulary=vocabulary_file,
        curves=weighting_files,
    output:
        figure=report(
            "<results>/figures/score_examples/{scores}.png",
            category="Figures",
            labels={
                "figure": "Images, segments, score maps ({scores}) and datasets (Fig. 2)"
            },
            caption="../report/score_examples.rst",
        ),
    log:
        "<logs>/score_examples/{scores}.log",
    benchmark:
        "<benchmarks>/score_examples/{scores}.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        index_folder=INDEX,
        ambiguous_classes=score_setting("ambiguous_classes"),
        vocabulary=vocabulary_to_score,
        minimum=score_setting("minimum"),
        views=weighted_views,
        seed=config["seed"],
        examples=4,
    message:
        "Drawing images, segments, score maps ({wildcards.scores}) and weighted datasets"
    script:
        "../scripts/score_examples.py"


rule training_curves:
    input:
        histories=[f"<results>/models/{row.path}/history.csv" for row in KERAS_ROWS],
        clips=[f"<results>/models/{row.path}" for row in CLIP_ROWS],
        countries=countries_table,
    output:
        figure=report(
            "<results>/figures/training_curves.png",
            category="Figures",
            labels={"figure": "Training curves"},
            caption="../report/training_curves.rst",
        ),
    log:
        "<logs>/training_curves.log",
    benchmark:
        "<benchmarks>/training_curves.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        titles=curve_titles(),
        # A function, because Snakemake takes braces in texts for wildcards.
        captioned=lambda wildcards: [
            MODEL_TITLES[row.model] for row in rows(config, "image_text", trained=True)
        ],
    message:
        "Drawing the training curves"
    script:
        "../scripts/training_curves.py"


rule accuracy_figure:
    input:
        metrics=rules.metrics.output.metrics,
    output:
        figure=report(
            "<results>/figures/accuracy.png",
            category="Figures",
            labels={
                "figure": "Accuracy with 95 % intervals, and the majority baseline"
            },
            caption="../report/accuracy.rst",
        ),
    log:
        "<logs>/accuracy_figure.log",
    benchmark:
        "<benchmarks>/accuracy_figure.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        model_titles=MODEL_TITLES,
        dataset_titles=DATASET_TITLES,
        test_set_titles=TITLES_OF_TEST_SETS,
    message:
        "Drawing accuracies and baselines"
    script:
        "../scripts/accuracy_figure.py"


# Files and folders that a job of the run loads a model from.
LOADED = list(
    dict.fromkeys(
        path
        for path in [
            *WEIGHTS_USED,
            *(
                path
                for entry in config["models"].values()
                if not is_trained(entry)
                for path in files_of(entry)
            ),
        ]
    )
)
# What the report shows, by the names that geoloc.report.tables gives them.
REPORTED = {
    "table1": rules.table1.output.table,
    "metrics": rules.metrics.output.metrics,
    "by_source": rules.metrics.output.by_source,
    "by_country": rules.by_country.output.accuracy,
    "confusion": rules.by_country.output.confusion,
    "answers": rules.answers.output.table,
    "records": rules.answers.output.records,
    "leakage": rules.check_leakage.output.summary,
    "quarantine": rules.collect_quarantine.output.quarantine,
}
if not DIFFERENCES_FROM_STUDY:
    # Published accuracies are comparable only for the same images, classes and datasets.
    REPORTED["comparison"] = rules.table1_comparison.output.comparison
if published_test_sets() & set(TEST_SETS) and not config["demo"]:
    REPORTED["distances"] = rules.published_distances.output.table
if SCORES_USED:
    REPORTED |= {
        "found_classes": rules.found.output.classes,
        "found_countries": rules.found.output.countries,
        "found_visible": rules.found.output.visible,
    }
if EXPLAINED:
    REPORTED |= {
        "influence": rules.explanations.output.influence,
        "cause": rules.explanations.output.cause,
        "faithfulness": rules.explanations.output.faithfulness,
    }


rule run_record:
    input:
        tables=list(REPORTED.values()),
    output:
        record="<results>/run.json",
    log:
        "<logs>/run_record.log",
    benchmark:
        "<benchmarks>/run_record.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        # What changes results reruns a table, too.
        config=untracked(config),
        code=untracked(lambda wildcards: code_version(ROOT)),
        weights=untracked(LOADED),
        differences=DIFFERENCES_FROM_STUDY,
    message:
        "Recording what the run was made with"
    script:
        "../scripts/run_record.py"


rule report:
    input:
        **REPORTED,
        countries=countries_table,
        index=lambda wildcards: checkpoints.index.get().output.images,
        histories=[f"<results>/models/{row.path}/history.csv" for row in KERAS_ROWS],
        clips=[f"<results>/models/{row.path}" for row in CLIP_ROWS],
        examples=[
            f"<results>/figures/score_examples/{name}.png" for name in SCORES_USED
        ],
        found=[f"<results>/figures/found_examples/{name}.jpg" for name in SCORES_USED],
        explanations=[
            f"<results>/figures/explanations/{model}.png" for model in EXPLAINED_MODELS
        ],
        record=rules.run_record.output.record,
    output:
        page="<results>/report.html",
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        config=untracked(config),
        study=untracked(lambda wildcards: default_config(SCHEMA)),
        weights=untracked(WEIGHTS),
        tables=[*REPORTED, "countries"],
        trained=[list(row) for row in KERAS_ROWS + CLIP_ROWS],
        titles=answer_settings(config)["titles"],
        differences=DIFFERENCES_FROM_STUDY,
        published_titles=study_titles(config, SCHEMA),
    message:
        "Making the report"
    script:
        "../scripts/report.py"
