# Figures. The report contains them: snakemake --report results/{run}/report.html


rule score_examples:
    input:
        images=of_shards("<results>/images/{collection}/{country}/{shard}.h5", "street"),
        scores=scores_of(
            "<results>/scores/{scores}/{country}/{shard}.h5",
            lambda wildcards: [wildcards.scores],
        ),
        segments=all_segments_to_score,
        classes=lambda wildcards: config["scores"][wildcards.scores]["classes"],
        vocabulary=vocabulary_file,
        curves=lambda wildcards: used_files(*weighted_views(wildcards).values()),
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
        ambiguous_classes=lambda wildcards: (
            config["scores"][wildcards.scores]["ambiguous_classes"]
        ),
        vocabulary=vocabulary_to_score,
        minimum=lambda wildcards: config["scores"][wildcards.scores]["minimum"],
        views=weighted_views,
        seed=config["seed"],
        examples=4,
    message:
        "Drawing images, segments, score maps ({wildcards.scores}) and weighted datasets"
    script:
        "../scripts/score_examples.py"


rule training_curves:
    input:
        histories=[
            f"<results>/models/{row.path}/history.csv"
            for row in rows(config, "keras_models")
        ],
        clips=[
            f"<results>/models/{row.path}"
            for row in rows(config, "image_text", trained=True)
        ],
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
        captioned=[
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
