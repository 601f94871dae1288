# Masks of everything in an image with the ten best classes of each (the longest stage), and the score
# maps made from them.


rule segment:
    input:
        images="<results>/images/street/{country}/{shard}.h5",
        segmenter_weights=config["segment"]["segmenter_weights"],
        classifier_weights=config["segment"]["classifier_weights"] or [],
    output:
        segments="<results>/segments/{country}/{shard}.h5",
    log:
        "<logs>/segment/{country}/{shard}.log",
    benchmark:
        "<benchmarks>/segment/{country}/{shard}.tsv"
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: config["threads"]["segment"]
    resources:
        gpu=1,
        mem_mb=scaled(16000),
        runtime=scaled(240),
    params:
        index_folder=INDEX,
        segment={k: v for k, v in config["segment"].items() if k != "engine"},
        engine=untracked(config["segment"]["engine"]),
        weights=untracked({path: weights_entry(path) for path in SEGMENT_WEIGHTS}),
    message:
        "Segmenting {wildcards.country} {wildcards.shard}"
    script:
        "../scripts/segment.py"


rule score:
    input:
        segments="<results>/segments/{country}/{shard}.h5",
        selected_classes=config["score"]["selected_classes"],
    output:
        scores="<results>/scores/{country}/{shard}.h5",
    log:
        "<logs>/score/{country}/{shard}.log",
    benchmark:
        "<benchmarks>/score/{country}/{shard}.tsv"
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(30),
    params:
        index_folder=INDEX,
        ambiguous_classes=config["score"]["ambiguous_classes"],
        minimum=config["score"]["minimum"],
        merge=config["score"]["merge"],
    message:
        "Scoring {wildcards.country} {wildcards.shard}"
    script:
        "../scripts/score.py"
