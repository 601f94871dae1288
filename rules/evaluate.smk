# Table 1, the metrics and the answers, from the predictions of every row.

from geoloc.config import default_config
from geoloc.evaluation.study import study_titles
from geoloc.matrix import answer_settings, columns, figure_titles

# What each row is tested on, besides photographs.
DATASETS_OF_ROWS = [list(street_test_sets(config, row.dataset)) for row in ROWS]
TITLES_OF_TEST_SETS = {
    name: title
    for name, title in figure_titles(config).items()
    if name in TEST_SETS or any(name in shown for shown in DATASETS_OF_ROWS)
}
PREDICTIONS = [f"<results>/predictions/{row.path}.parquet" for row in ROWS]


rule table1:
    input:
        predictions=PREDICTIONS,
        countries=countries_table,
    output:
        table=report(
            "<results>/table1.csv",
            category="Results",
            labels={"table": "Table 1: accuracy of every model on every test set"},
            caption="../report/table1.rst",
        ),
        seeds="<results>/table1_seeds.csv",
        text="<results>/table1.txt",
    log:
        "<logs>/table1.log",
    benchmark:
        "<benchmarks>/table1.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        rows=[list(row) for row in ROWS],
        datasets=DATASETS_OF_ROWS,
        model_titles=MODEL_TITLES,
        dataset_titles=DATASET_TITLES,
        columns=columns(config),
    message:
        "Making Table 1"
    script:
        "../scripts/table1.py"


# Requested only if the configuration is the study's (see Snakefile).
rule table1_comparison:
    input:
        table=rules.table1.output.table,
        countries=countries_table,
        classes=[
            as_input(config["scores"][name]["classes"])
            for name in default_config(SCHEMA)["scores"]
            if name in SCORES_USED
        ],
    output:
        comparison=report(
            "<results>/table1_comparison.csv",
            category="Results",
            labels={"table": "Table 1 next to the published one"},
            caption="../report/table1_comparison.rst",
        ),
    log:
        "<logs>/table1_comparison.log",
    benchmark:
        "<benchmarks>/table1_comparison.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        differences=DIFFERENCES_FROM_STUDY,
        titles=study_titles(config, SCHEMA),
    message:
        "Comparing Table 1 with the published one"
    script:
        "../scripts/table1_comparison.py"


rule metrics:
    input:
        predictions=PREDICTIONS,
        countries=countries_table,
        index=lambda wildcards: checkpoints.index.get().output.images,
    output:
        by_source="<results>/accuracy_by_source.csv",
        paired_tests="<results>/paired_tests.csv",
        metrics=report(
            "<results>/metrics.csv",
            category="Results",
            labels={"table": "All metrics, with 95 % intervals and baselines"},
            caption="../report/metrics.rst",
        ),
    log:
        "<logs>/metrics.log",
    benchmark:
        "<benchmarks>/metrics.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        seed=config["seed"],
        rows=[list(row) for row in ROWS],
        datasets=DATASETS_OF_ROWS,
    message:
        "Computing the metrics of every model"
    script:
        "../scripts/metrics.py"


rule by_country:
    input:
        predictions=PREDICTIONS,
        countries=countries_table,
        index=lambda wildcards: checkpoints.index.get().output.images,
    output:
        accuracy="<results>/accuracy_by_country.csv",
        confusion="<results>/confusion.csv",
    log:
        "<logs>/by_country.log",
    benchmark:
        "<benchmarks>/by_country.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        rows=[list(row) for row in ROWS],
        datasets=DATASETS_OF_ROWS,
    message:
        "Computing accuracies by country"
    script:
        "../scripts/by_country.py"


rule answers:
    input:
        predictions=PREDICTIONS,
        countries=countries_table,
        index=lambda wildcards: checkpoints.index.get().output.images,
        leakage="<results>/leakage.csv",
    output:
        table=report(
            "<results>/answers.csv",
            category="Results",
            labels={
                "table": "Answers: differences with intervals and corrected tests"
            },
            caption="../report/answers.rst",
        ),
        records="<results>/answers.json",
        verdict="<results>/verdict.txt",
    log:
        "<logs>/answers.log",
    benchmark:
        "<benchmarks>/answers.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        seed=config["seed"],
        rows=[list(row) for row in ROWS],
        datasets=DATASETS_OF_ROWS,
        settings=answer_settings(config),
        near_duplicate_bits=config["leakage"]["near_duplicate_bits"],
    message:
        "Answering the questions of the study"
    script:
        "../scripts/answers.py"


# Requested only if the run has a test set that others published distances of (see Snakefile).
rule published_distances:
    input:
        metrics=rules.metrics.output.metrics,
    output:
        table=report(
            "<results>/published_distances.csv",
            category="Results",
            labels={"table": "Distances on Im2GPS3k next to published ones"},
            caption="../report/published_distances.rst",
        ),
    log:
        "<logs>/published_distances.log",
    benchmark:
        "<benchmarks>/published_distances.tsv"
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
    message:
        "Comparing distances with published ones"
    script:
        "../scripts/published_distances.py"
