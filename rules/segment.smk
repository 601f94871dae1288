# Regions of everything in an image with the classes of each (the longest stage), and the score maps
# made from them.


rule segment:
    input:
        images="<results>/images/street/{country}/{shard}.h5",
        models=lambda wildcards: as_input(files_of(segmentation(wildcards))),
    output:
        segments="<results>/segments/{segmentation}/{country}/{shard}.h5",
    log:
        "<logs>/segment/{segmentation}/{country}/{shard}.log",
    benchmark:
        "<benchmarks>/segment/{segmentation}/{country}/{shard}.tsv"
    # First of all that is ready: it takes longest, and most of the rest needs all of its files.
    priority: 20
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
        allow_cpu=untracked(config["allow_cpu"]),
        index_folder=INDEX,
        segmentation=segmentation,
        engine=untracked(
            lambda wildcards: config["segmentations"][wildcards.segmentation]["engine"]
        ),
        weights=untracked(
            lambda wildcards: {
                path: weights_entry(path) for path in files_of(segmentation(wildcards))
            }
        ),
    message:
        "Segmenting {wildcards.country} {wildcards.shard} with {wildcards.segmentation}"
    script:
        "../scripts/segment.py"


rule score:
    input:
        segments=segments_to_score,
        classes=class_list,
        vocabulary=vocabulary_file,
    output:
        scores="<results>/scores/{scores}/{country}/{shard}.h5",
    log:
        "<logs>/score/{scores}/{country}/{shard}.log",
    benchmark:
        "<benchmarks>/score/{scores}/{country}/{shard}.tsv"
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
        ambiguous_classes=score_setting("ambiguous_classes"),
        vocabulary=vocabulary_to_score,
        minimum=score_setting("minimum"),
        merge=score_setting("merge"),
    message:
        "Scoring {wildcards.country} {wildcards.shard} ({wildcards.scores})"
    script:
        "../scripts/score.py"
