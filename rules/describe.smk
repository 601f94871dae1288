# What the segmentations found: classes, countries, and how much the datasets leave visible.


rule describe_segments:
    input:
        images=of_shards("<results>/images/{collection}/{country}/{shard}.h5", "street"),
        segments=all_segments_to_score,
        scores=scores_of(
            "<results>/scores/{scores}/{country}/{shard}.h5",
            lambda wildcards: [wildcards.scores],
        ),
        classes=class_list,
        vocabulary=vocabulary_file,
    output:
        classes="<results>/found/{scores}/classes.csv",
        countries="<results>/found/{scores}/countries.csv",
        histogram="<results>/found/{scores}/histogram.csv",
        objects="<results>/found/{scores}/objects.parquet",
        figure=report(
            "<results>/figures/found_examples/{scores}.jpg",
            category="What was found",
            labels={"figure": "Segments of the most frequent classes ({scores})"},
            caption="../report/found_examples.rst",
        ),
    log:
        "<logs>/describe_segments/{scores}.log",
    benchmark:
        "<benchmarks>/describe_segments/{scores}.tsv"
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(120),
    params:
        index_folder=INDEX,
        ambiguous_classes=score_setting("ambiguous_classes"),
        vocabulary=vocabulary_to_score,
        minimum=score_setting("minimum"),
        classes=12,
        examples=10,
    message:
        "Describing the segments of {wildcards.scores}"
    script:
        "../scripts/describe_segments.py"


rule found:
    input:
        classes=[f"<results>/found/{name}/classes.csv" for name in SCORES_USED],
        countries=[f"<results>/found/{name}/countries.csv" for name in SCORES_USED],
        histograms=[f"<results>/found/{name}/histogram.csv" for name in SCORES_USED],
        curves=as_input(used_files(*VIEWS_OF_SCORES.values())),
    output:
        classes=report(
            "<results>/found_classes.csv",
            category="What was found",
            labels={"table": "Classes of the segments"},
            caption="../report/found_classes.rst",
        ),
        countries=report(
            "<results>/found_countries.csv",
            category="What was found",
            labels={"table": "Segments and scores by country"},
            caption="../report/found_countries.rst",
        ),
        visible=report(
            "<results>/found_visible.csv",
            category="What was found",
            labels={"table": "How much of an image each dataset leaves visible"},
            caption="../report/found_visible.rst",
        ),
    log:
        "<logs>/found.log",
    benchmark:
        "<benchmarks>/found.tsv"
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    params:
        scores=SCORES_USED,
        views=VIEWS_OF_SCORES,
    message:
        "Collecting what was found"
    script:
        "../scripts/found.py"
