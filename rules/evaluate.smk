# Predictions of every model on every test set, Table 1 and the metrics.


rule predict:
    input:
        model="<results>/models/{model}/{dataset}/model.keras",
        classes="<results>/models/{model}/{dataset}/classes.json",
        street=of_shards("<results>/arrays/{collection}/{country}/{shard}.h5", "street"),
        test_sets=of_shards(
            "<results>/arrays/{collection}/{country}/{shard}.h5", *TEST_SETS
        ),
        countries=countries_table,
    output:
        predictions="<results>/predictions/{model}/{dataset}.parquet",
    log:
        "<logs>/predict/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/predict/{model}/{dataset}.tsv"
    wildcard_constraints:
        model="|".join(KERAS_MODELS),
    conda:
        "../envs/tensorflow.yaml"
    container:
        config["containers"]["tensorflow"]
    threads: config["threads"]["predict"]
    resources:
        gpu=1,
        mem_mb=scaled(16000),
        runtime=scaled(120),
    params:
        index_folder=INDEX,
        seed=config["seed"],
        weighting=config["datasets"],
        batch_size=config["train"]["batch_size"],
        test_sets=TEST_SETS,
    message:
        "Predicting with {wildcards.model}, trained on {wildcards.dataset}"
    script:
        "../scripts/predict.py"


rule predict_clip:
    input:
        model=lambda wildcards: (
            f"<results>/models/{wildcards.model}/{wildcards.dataset}"
            if (wildcards.model, wildcards.dataset) in CLIP_ROWS
            else config["models"]["clip"]["path"]
        ),
        street=of_shards("<results>/images/{collection}/{country}/{shard}.h5", "street"),
        scores=of_shards("<results>/scores/{country}/{shard}.h5", "street"),
        test_sets=of_shards(
            "<results>/images/{collection}/{country}/{shard}.h5", *TEST_SETS
        ),
        countries=countries_table,
        index=lambda wildcards: checkpoints.index.get().output.images,
    output:
        predictions="<results>/predictions/{model}/{dataset}.parquet",
    log:
        "<logs>/predict/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/predict/{model}/{dataset}.tsv"
    wildcard_constraints:
        model="clip|contrastive",
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: config["threads"]["predict"]
    resources:
        gpu=1,
        mem_mb=scaled(16000),
        runtime=scaled(240),
    params:
        index_folder=INDEX,
        weighting=config["datasets"],
        prompt=lambda wildcards: config["models"][wildcards.model]["prompt"],
        batch_size=config["models"]["clip"]["batch_size"],
        test_sets=TEST_SETS,
    message:
        "Predicting with {input.model}"
    script:
        "../scripts/predict_clip.py"


PREDICTIONS = [
    f"<results>/predictions/{model}/{dataset}.parquet" for model, dataset in TABLE_ROWS
]


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
        rows=TABLE_ROWS,
        titles=TITLES,
        test_sets=TITLES_OF_TEST_SETS,
    message:
        "Making Table 1"
    script:
        "../scripts/table1.py"


# Requested only if the configuration is the study's (see Snakefile).
rule table1_comparison:
    input:
        table=rules.table1.output.table,
        countries=countries_table,
        selected=config["score"]["selected_classes"],
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
        titles={model: TITLES[model] for model in study_models(config, SCHEMA)},
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
        rows=TABLE_ROWS,
    message:
        "Computing the metrics of every model"
    script:
        "../scripts/metrics.py"
