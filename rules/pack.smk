# The arrays that models are trained on: a 224x224 image, and a 224x224 score map or the crop of an
# object. They are separate files, so that other score maps leave the images alone.


rule pack_images:
    input:
        images="<results>/images/{collection}/{country}/{shard}.h5",
    output:
        arrays="<results>/arrays/images/{collection}/{country}/{shard}.h5",
    log:
        "<logs>/pack_images/{collection}/{country}/{shard}.log",
    benchmark:
        "<benchmarks>/pack_images/{collection}/{country}/{shard}.tsv"
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        mem_mb=scaled(1000 + decoding()),
        runtime=scaled(60),
    params:
        index_folder=INDEX,
    message:
        "Packing images of {wildcards.collection} {wildcards.country} {wildcards.shard}"
    script:
        "../scripts/pack_images.py"


rule pack_scores:
    input:
        scores="<results>/scores/{scores}/{country}/{shard}.h5",
    output:
        arrays="<results>/arrays/scores/{scores}/{country}/{shard}.h5",
    log:
        "<logs>/pack_scores/{scores}/{country}/{shard}.log",
    benchmark:
        "<benchmarks>/pack_scores/{scores}/{country}/{shard}.tsv"
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(30),
    params:
        index_folder=INDEX,
    message:
        "Packing score maps of {wildcards.country} {wildcards.shard} ({wildcards.scores})"
    script:
        "../scripts/pack_scores.py"


rule pack_crops:
    input:
        images="<results>/images/street/{country}/{shard}.h5",
        segments=segments_to_score,
        classes=class_list,
        vocabulary=vocabulary_file,
    output:
        arrays="<results>/arrays/crops/{scores}/{country}/{shard}.h5",
        boxes="<results>/arrays/crops/{scores}/{country}/{shard}.csv",
    log:
        "<logs>/pack_crops/{scores}/{country}/{shard}.log",
    benchmark:
        "<benchmarks>/pack_crops/{scores}/{country}/{shard}.tsv"
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        mem_mb=scaled(1000 + decoding()),
        runtime=scaled(60),
    params:
        index_folder=INDEX,
        ambiguous_classes=score_setting("ambiguous_classes"),
        vocabulary=vocabulary_to_score,
        minimum=score_setting("minimum"),
    message:
        "Packing objects of {wildcards.country} {wildcards.shard} ({wildcards.scores})"
    script:
        "../scripts/pack_crops.py"
