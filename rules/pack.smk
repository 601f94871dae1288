# The arrays that the Keras models read: a 224x224 image and a 224x224 score map per image.


rule pack:
    input:
        images="<results>/images/{collection}/{country}/{shard}.h5",
        # Photos of test sets have no scores.
        scores=lambda wildcards: (
            f"<results>/scores/{wildcards.country}/{wildcards.shard}.h5"
            if wildcards.collection == "street"
            else []
        ),
    output:
        arrays="<results>/arrays/{collection}/{country}/{shard}.h5",
    log:
        "<logs>/pack/{collection}/{country}/{shard}.log",
    benchmark:
        "<benchmarks>/pack/{collection}/{country}/{shard}.tsv"
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
        "Packing {wildcards.collection} {wildcards.country} {wildcards.shard}"
    script:
        "../scripts/pack.py"
