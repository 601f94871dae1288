# Test images that resemble training images. Reads only the prepared images, so that
# `snakemake check_leakage` can run before anything is segmented or trained.


rule check_leakage:
    input:
        street=of_shards("<results>/images/{collection}/{country}/{shard}.h5", "street"),
        test_sets=of_shards(
            "<results>/images/{collection}/{country}/{shard}.h5", *TEST_SETS
        ),
        index=lambda wildcards: checkpoints.index.get().output.images,
    output:
        images="<results>/leakage.csv",
        summary=report(
            "<results>/leakage_summary.csv",
            category="Data",
            labels={"table": "Leakage: near-duplicates and neighbors across splits"},
            caption="../report/leakage.rst",
        ),
    log:
        "<logs>/check_leakage.log",
    benchmark:
        "<benchmarks>/check_leakage.tsv"
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: config["threads"]["check_leakage"]
    resources:
        mem_mb=memory_to_compare,
        runtime=scaled(120),
    params:
        index_folder=INDEX,
        near_duplicate_bits=config["leakage"]["near_duplicate_bits"],
    message:
        "Looking for near-duplicates and neighbors across the splits"
    script:
        "../scripts/check_leakage.py"
