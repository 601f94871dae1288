# Predictions of every model on every test set.

# In the order of the index.
TEST_SETS_BY_NAME = sorted(TEST_SETS)


rule predict:
    input:
        model="<results>/models/{model}/{dataset}/{seed}/model.keras",
        classes="<results>/models/{model}/{dataset}/{seed}/classes.json",
        cells=cells_of_model,
        code=file_of_network,
        street=lists_of("arrays/images", "street"),
        scores=lambda wildcards: lists_of("arrays/scores", *test_scores(wildcards)),
        crops=lambda wildcards: lists_of("arrays/crops", *test_crops(wildcards)),
        curves=test_files,
        test_sets=lists_of("arrays/images", *TEST_SETS_BY_NAME),
        countries=countries_table,
    output:
        predictions="<results>/predictions/{model}/{dataset}/{seed}.parquet",
    log:
        "<logs>/predict/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/predict/{model}/{dataset}/{seed}.tsv"
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
        runtime=scaled(120),
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        views=test_views,
        scores=test_scores,
        crops=test_crops,
        batch_size=config["train"]["batch_size"],
        test_sets=TEST_SETS,
    message:
        "Predicting with {wildcards.model}, trained on {wildcards.dataset} (seed {wildcards.seed})"
    script:
        "../scripts/predict.py"


rule predict_clip:
    input:
        model=clip_folder,
        street=lists_of("images", "street"),
        scores=lambda wildcards: lists_of("scores", *test_scores(wildcards)),
        boxes=lambda wildcards: lists_of("arrays/crops", *test_crops(wildcards)),
        curves=test_files,
        test_sets=lists_of("images", *TEST_SETS_BY_NAME),
        countries=countries_table,
        index=lambda wildcards: checkpoints.index.get().output.images,
    output:
        predictions="<results>/predictions/{model}/{dataset}/{seed}.parquet",
    log:
        "<logs>/predict/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/predict/{model}/{dataset}/{seed}.tsv"
    wildcard_constraints:
        model=models_of("image_text"),
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: config["threads"]["predict"]
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(240),
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        views=test_views,
        scores=test_scores,
        crops=test_crops,
        prompt=model_setting("prompt"),
        batch_size=model_setting("batch_size"),
        test_sets=TEST_SETS,
    message:
        "Predicting with {input.model}"
    script:
        "../scripts/predict_clip.py"


rule predict_geoclip:
    input:
        model=model_file("path"),
        gallery=model_file("gallery"),
        street=lists_of("images", "street"),
        scores=lambda wildcards: lists_of("scores", *test_scores(wildcards)),
        boxes=lambda wildcards: lists_of("arrays/crops", *test_crops(wildcards)),
        curves=test_files,
        test_sets=lists_of("images", *TEST_SETS_BY_NAME),
        countries=countries_table,
        index=lambda wildcards: checkpoints.index.get().output.images,
    output:
        predictions="<results>/predictions/{model}/{dataset}/{seed}.parquet",
    log:
        "<logs>/predict/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/predict/{model}/{dataset}/{seed}.tsv"
    wildcard_constraints:
        model=models_of("coordinates"),
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: config["threads"]["predict"]
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(240),
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        views=test_views,
        scores=test_scores,
        crops=test_crops,
        geocoder=config["index"]["geocoder"],
        batch_size=model_setting("batch_size"),
        test_sets=TEST_SETS,
    message:
        "Predicting with GeoCLIP"
    script:
        "../scripts/predict_geoclip.py"


rule predict_python:
    input:
        file=model_file("file"),
        street=lists_of("images", "street"),
        scores=lambda wildcards: lists_of("scores", *test_scores(wildcards)),
        boxes=lambda wildcards: lists_of("arrays/crops", *test_crops(wildcards)),
        curves=test_files,
        test_sets=lists_of("images", *TEST_SETS_BY_NAME),
        countries=countries_table,
        index=lambda wildcards: checkpoints.index.get().output.images,
    output:
        predictions="<results>/predictions/{model}/{dataset}/{seed}.parquet",
    log:
        "<logs>/predict/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/predict/{model}/{dataset}/{seed}.tsv"
    wildcard_constraints:
        model=models_of("evaluation"),
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: config["threads"]["predict"]
    resources:
        gpu=1,
        mem_mb=scaled(8000),
        runtime=scaled(240),
    params:
        index_folder=INDEX,
        seed=config["seed"],
        views=test_views,
        scores=test_scores,
        crops=test_crops,
        geocoder=config["index"]["geocoder"],
        options=model_setting("options"),
        batch_size=model_setting("batch_size"),
        test_sets=TEST_SETS,
    message:
        "Predicting with {input.file}"
    script:
        "../scripts/predict_python.py"
