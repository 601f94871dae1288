# Raw files are read here and nowhere else: verified, oriented, cropped, resized, packed.


rule prepare:
    input:
        manifest="<results>/index/shards/{collection}/{country}/{shard}.csv",
    output:
        images="<results>/images/{collection}/{country}/{shard}.h5",
        quarantine="<results>/quarantine/{collection}/{country}/{shard}.csv",
    log:
        "<logs>/prepare/{collection}/{country}/{shard}.log",
    benchmark:
        "<benchmarks>/prepare/{collection}/{country}/{shard}.tsv"
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        mem_mb=scaled(1400 + decoding()),  # a file may have 1 GiB
        runtime=scaled(60),
    params:
        preparation=preparation,
        # Another limit changes few images and must not repeat the long stages for all the others.
        max_megapixels=untracked(config["prepare"]["max_megapixels"]),
        # Where the files lie changes no image.
        sources=untracked(ENTRIES),
    message:
        "Preparing {wildcards.collection} {wildcards.country} {wildcards.shard}"
    script:
        "../scripts/prepare.py"


rule collect_quarantine:
    input:
        rejected=lambda wildcards: checkpoints.index.get().output.rejected,
        shards=of_shards(
            "<results>/quarantine/{collection}/{country}/{shard}.csv",
            "street",
            *TEST_SETS,
        ),
        images=lambda wildcards: checkpoints.index.get().output.images,
    output:
        quarantine=report(
            "<results>/quarantine.csv",
            category="Data",
            labels={"table": "Quarantine: images that were left out, and why"},
            caption="../report/quarantine.rst",
        ),
    log:
        "<logs>/collect_quarantine.log",
    benchmark:
        "<benchmarks>/collect_quarantine.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        max_unreadable=config["prepare"]["max_unreadable"],
    message:
        "Gathering the images that were left out"
    script:
        "../scripts/collect_quarantine.py"
