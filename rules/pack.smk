# The arrays that models are trained on: a 224x224 image, and a 224x224 score map. They are separate
# files, so that other score maps leave the images alone.


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
