# The only checkpoint: all images with their country, split and shard.


checkpoint index:
    input:
        sources=[
            LINKS.get(ENTRIES[name]["path"], folder)
            for name, folder in FOLDERS.items()
        ],
        code=[
            as_input(entry["file"])
            for entry in ENTRIES.values()
            if entry and entry["kind"] == "python"
        ],
    output:
        images="<results>/index/images.parquet",
        countries="<results>/index/countries.csv",
        rejected="<results>/index/rejected.csv",
        listing="<results>/index/listing.csv",
        shards="<results>/index/shards.csv",
        manifests=directory("<results>/index/shards"),
    log:
        "<logs>/index.log",
    benchmark:
        "<benchmarks>/index.tsv"
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=scaled(60),
    params:
        sources=entries_for_the_index("sources"),
        test_sets=entries_for_the_index("test_sets"),
        listing=listings,
        min_images=config["index"]["min_images"],
        shard_size=config["index"]["shard_size"],
        split=config["index"]["split"],
        place_km=(
            config["index"]["place_km"]
            if config["index"]["split_by"] == "place"
            else None
        ),
        max_rejected=config["index"]["max_rejected"],
        geocoder=config["index"]["geocoder"],
        seed=config["seed"],
    message:
        "Listing all images, finding their countries, splitting"
    script:
        "../scripts/index.py"
