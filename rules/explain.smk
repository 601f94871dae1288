# Why a model answers as it does, and whether the scored objects carry the answer.

from geoloc.matrix import explained_test_set


# Requested only with explain.random_labels (see model_of_random_labels).
use rule train as train_random_labels with:
    output:
        model="<results>/random_labels/{model}/{dataset}/{seed}/model.keras",
        classes="<results>/random_labels/{model}/{dataset}/{seed}/classes.json",
        history="<results>/random_labels/{model}/{dataset}/{seed}/history.csv",
    log:
        "<logs>/train_random_labels/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/train_random_labels/{model}/{dataset}/{seed}.tsv"
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        model=model_to_train,
        view=training_view,
        scores=training_scores,
        crops=training_crops,
        train=config["train"],
        random_labels=True,
    message:
        "Training {wildcards.model} on {wildcards.dataset} with random labels (seed {wildcards.seed})"


use rule train_clip as train_clip_random_labels with:
    output:
        model=directory("<results>/random_labels/{model}/{dataset}/{seed}"),
    log:
        "<logs>/train_clip_random_labels/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/train_clip_random_labels/{model}/{dataset}/{seed}.tsv"
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        model=clip_parameters,
        view=training_view,
        scores=training_scores,
        crops=training_crops,
        random_labels=True,
    message:
        "Training {wildcards.model} on {wildcards.dataset} with random labels (seed {wildcards.seed})"


rule explain:
    input:
        model="<results>/models/{model}/{dataset}/{seed}/model.keras",
        classes="<results>/models/{model}/{dataset}/{seed}/classes.json",
        cells=cells_of_model,
        code=file_of_network,
        random_labels=model_of_random_labels,
        # Only to draw right and wrong answers; what changes them are the other inputs.
        predictions=ancient("<results>/predictions/{model}/{dataset}/{seed}.parquet"),
        street=lists_of("arrays/images", "street"),
        scores=lambda wildcards: lists_of(
            "arrays/scores", explained_scores(config, wildcards.dataset)
        ),
        curves=training_files,
        segments=segments_to_explain,
        selected=class_list_to_explain,
        vocabulary=vocabulary_to_explain,
        countries=countries_table,
    output:
        maps="<results>/explanations/{model}/{dataset}/{seed}.h5",
        influence="<results>/explanations/{model}/{dataset}/{seed}_influence.csv",
        changes="<results>/explanations/{model}/{dataset}/{seed}_changes.csv",
        checks="<results>/explanations/{model}/{dataset}/{seed}_checks.csv",
    log:
        "<logs>/explain/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/explain/{model}/{dataset}/{seed}.tsv"
    wildcard_constraints:
        model=models_of("keras_models"),
    conda:
        "../envs/tensorflow.yaml"
    container:
        config["containers"]["tensorflow"]
    threads: config["threads"]["predict"]
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(240),
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        view=training_view,
        ambiguous_classes=explained_setting("ambiguous_classes"),
        vocabulary=lambda wildcards: vocabulary_of(segmentation_to_explain(wildcards)),
        minimum=explained_setting("minimum"),
        explain=config["explain"],
    message:
        "Explaining {wildcards.model}, trained on {wildcards.dataset} (seed {wildcards.seed})"
    script:
        "../scripts/explain.py"


rule explain_clip:
    input:
        model=clip_folder,
        random_labels=model_of_random_labels,
        # Only to draw right and wrong answers; what changes them are the other inputs.
        predictions=ancient("<results>/predictions/{model}/{dataset}/{seed}.parquet"),
        street=lists_of("images", "street"),
        scores=lambda wildcards: lists_of(
            "scores", explained_scores(config, wildcards.dataset)
        ),
        curves=training_files,
        segments=segments_to_explain,
        selected=class_list_to_explain,
        vocabulary=vocabulary_to_explain,
        countries=countries_table,
        index=lambda wildcards: checkpoints.index.get().output.images,
    output:
        maps="<results>/explanations/{model}/{dataset}/{seed}.h5",
        influence="<results>/explanations/{model}/{dataset}/{seed}_influence.csv",
        changes="<results>/explanations/{model}/{dataset}/{seed}_changes.csv",
        checks="<results>/explanations/{model}/{dataset}/{seed}_checks.csv",
    log:
        "<logs>/explain/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/explain/{model}/{dataset}/{seed}.tsv"
    wildcard_constraints:
        model=models_of("image_text"),
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: config["threads"]["predict"]
    resources:
        gpu=1,
        mem_mb=scaled(12000),  # docs/scale.md
        runtime=scaled(240),
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        prompt=model_setting("prompt"),
        test_set=lambda wildcards: explained_test_set(config, wildcards.dataset),
        view=training_view,
        ambiguous_classes=explained_setting("ambiguous_classes"),
        vocabulary=lambda wildcards: vocabulary_of(segmentation_to_explain(wildcards)),
        minimum=explained_setting("minimum"),
        # Without the settings of integrated gradients.
        explain={
            key: value
            for key, value in config["explain"].items()
            if key not in ("steps", "baseline")
        },
    message:
        "Explaining {wildcards.model}, {wildcards.dataset} (seed {wildcards.seed})"
    script:
        "../scripts/explain_clip.py"


# Requested only if a row is explained (see Snakefile).
rule explanations:
    input:
        influence=[
            f"<results>/explanations/{row.path}_influence.csv" for row in EXPLAINED
        ],
        changes=[f"<results>/explanations/{row.path}_changes.csv" for row in EXPLAINED],
        checks=[f"<results>/explanations/{row.path}_checks.csv" for row in EXPLAINED],
    output:
        influence=report(
            "<results>/explanations/influence.csv",
            category="Explanations",
            labels={
                "table": "Influence: relevance of scored pixels against their area"
            },
            caption="../report/influence.rst",
        ),
        cause=report(
            "<results>/explanations/cause.csv",
            category="Explanations",
            labels={"table": "Cause: answers without the scored pixels"},
            caption="../report/cause.rst",
        ),
        faithfulness=report(
            "<results>/explanations/faithfulness.csv",
            category="Explanations",
            labels={"table": "Faithfulness: whether the maps can be trusted"},
            caption="../report/faithfulness.rst",
        ),
    log:
        "<logs>/explanations.log",
    benchmark:
        "<benchmarks>/explanations.tsv"
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
        rows=[list(row) for row in EXPLAINED],
    message:
        "Summarizing the explanations of every model"
    script:
        "../scripts/explanations.py"


rule explanation_examples:
    input:
        maps=lambda wildcards: [
            f"<results>/explanations/{row.path}.h5" for row in example_rows(wildcards)
        ],
        checks=lambda wildcards: [
            f"<results>/explanations/{row.path}_checks.csv"
            for row in example_rows(wildcards)
        ],
        faithfulness=rules.explanations.output.faithfulness,
        street=of_shards(
            "<results>/arrays/images/{collection}/{country}/{shard}.h5", "street"
        ),
        scores=scores_of(
            "<results>/arrays/scores/{scores}/{country}/{shard}.h5",
            lambda wildcards: list(dict.fromkeys(example_scores(wildcards))),
        ),
        curves=lambda wildcards: as_input(
            used_files(*example_views(wildcards).values())
        ),
    output:
        figure=report(
            "<results>/figures/explanations/{model}.png",
            category="Figures",
            labels={"figure": "What the answers of {model} rest on"},
            caption="../report/explanation_examples.rst",
        ),
    log:
        "<logs>/explanation_examples/{model}.log",
    benchmark:
        "<benchmarks>/explanation_examples/{model}.tsv"
    wildcard_constraints:
        model="|".join(EXPLAINED_MODELS) or "none",
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
        seed=config["seed"],
        rows=lambda wildcards: [list(row) for row in example_rows(wildcards)],
        views=example_views,
        scores=example_scores,
        title=lambda wildcards: MODEL_TITLES[wildcards.model],
        dataset_titles=DATASET_TITLES,
    message:
        "Drawing explanations of {wildcards.model}"
    script:
        "../scripts/explanation_examples.py"
