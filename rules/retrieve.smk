# Data and weights are downloaded on the node where Snakemake runs. Files that exist are used
# unchanged.

import re

from geoloc.corpus.download import wrong_sizes

if workflow.is_main_process:
    used = {
        Path(path).name: entry
        for path in WEIGHTS_USED
        if (entry := weights_entry(path))
    }
    if damaged := wrong_sizes(used, Path(RESOURCES, "weights")):
        raise WorkflowError("\n".join(damaged))


rule retrieve_source:
    output:
        folder=directory("<resources>/{source}"),
    log:
        "<logs>/retrieve_source/{source}.log",
    benchmark:
        "<benchmarks>/retrieve_source/{source}.tsv"
    wildcard_constraints:
        source="|".join(set(RETRIEVED) - set(RETRIEVED_ELSEWHERE.values())) or "none",
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        mem_mb=2000,
        runtime=600,
    params:
        name=lambda wildcards: wildcards.source,
        entry=untracked(lambda wildcards: ENTRIES[wildcards.source]),
    message:
        "Retrieving {wildcards.source}"
    script:
        "../scripts/retrieve_source.py"


use rule retrieve_source as retrieve_folder with:
    output:
        folder=directory("{folder}"),
    log:
        "<logs>/retrieve_source/{folder}.log",
    benchmark:
        "<benchmarks>/retrieve_source/{folder}.tsv"
    wildcard_constraints:
        folder="|".join(map(re.escape, RETRIEVED_ELSEWHERE)) or "none",
    params:
        name=lambda wildcards: RETRIEVED_ELSEWHERE[wildcards.folder],
        entry=untracked(
            lambda wildcards: ENTRIES[RETRIEVED_ELSEWHERE[wildcards.folder]]
        ),
    message:
        "Retrieving {wildcards.folder}"


rule retrieve_weights:
    output:
        weights="<resources>/weights/{file}",
    log:
        "<logs>/retrieve_weights/{file}.log",
    benchmark:
        "<benchmarks>/retrieve_weights/{file}.tsv"
    wildcard_constraints:
        file=names_of("url"),
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        entry=lambda wildcards: WEIGHTS[wildcards.file],
    message:
        "Retrieving {wildcards.file}"
    script:
        "../scripts/retrieve_weights.py"


rule retrieve_model:
    output:
        folder=directory("<resources>/weights/{folder}"),
    log:
        "<logs>/retrieve_model/{folder}.log",
    benchmark:
        "<benchmarks>/retrieve_model/{folder}.tsv"
    wildcard_constraints:
        folder=names_of("hub_id"),
    localrule: True
    conda:
        "../envs/torch.yaml"
    container:
        config["containers"]["torch"]
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        entry=lambda wildcards: WEIGHTS[wildcards.folder],
    message:
        "Retrieving {params.entry[hub_id]}"
    script:
        "../scripts/retrieve_model.py"
