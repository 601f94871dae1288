# Figures. The report contains them: snakemake --report results/{run}/report.html


rule score_examples:
    input:
        images=of_shards("<results>/images/{collection}/{country}/{shard}.h5", "street"),
        scores=of_shards("<results>/scores/{country}/{shard}.h5", "street"),
    output:
        figure=report(
            "<results>/figures/score_examples.png",
            category="Figures",
            labels={"figure": "Images, score maps and weighted datasets (Fig. 2)"},
            caption="../report/score_examples.rst",
        ),
    log:
        "<logs>/score_examples.log",
    benchmark:
        "<benchmarks>/score_examples.tsv"
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
        weighting=config["datasets"],
        seed=config["seed"],
        examples=4,
    message:
        "Drawing images, score maps and weighted datasets"
    script:
        "../scripts/score_examples.py"


rule training_curves:
    input:
        histories=[
            f"<results>/models/{model}/{dataset}/history.csv"
            for model, dataset in KERAS_ROWS
        ],
        clips=[f"<results>/models/{model}/{dataset}" for model, dataset in CLIP_ROWS],
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
        rows=KERAS_ROWS + CLIP_ROWS,
        titles=TITLES,
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
        titles=TITLES,
        test_sets=TITLES_OF_TEST_SETS,
    message:
        "Drawing accuracies and baselines"
    script:
        "../scripts/accuracy_figure.py"
