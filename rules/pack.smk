# What the Keras models read: one 224x224 image and one 224x224 score map an image.


rule pack:
    input:
        images="<results>/images/{collection}/{country}/{shard}.h5",
        # Test set photographs are never masked.
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
        "Arrays of {wildcards.collection} {wildcards.country} {wildcards.shard}"
    script:
        "../scripts/pack.py"
