# The only stage that reads raw files: they are verified, oriented, cropped, resized and stored.


rule prepare:
    input:
        manifest=manifest,
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
        mem_mb=scaled(1400 + decoding()),  # files have up to 1 GiB
        runtime=scaled(60),
    params:
        preparation=preparation,
        # Another limit affects few images and must not rerun the long stages for all others.
        max_megapixels=untracked(config["prepare"]["max_megapixels"]),
        # The location of the files does not affect the images.
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
            labels={"table": "Quarantine: images that were excluded, and why"},
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
        "Collecting the images that were excluded"
    script:
        "../scripts/collect_quarantine.py"
