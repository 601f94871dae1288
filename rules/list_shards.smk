# Lists of the shards of a stage, for jobs that read all of them. Each shard as an input of each of
# these jobs would be hundreds of thousands of files for Snakemake to plan.

from geoloc.shard_lists import forget_incomplete

if workflow.is_main_process:
    # Otherwise, Snakemake would take shards that were deleted for listed.
    try:
        forget_incomplete(f"{RESULTS}/lists")
    except GeolocError as error:
        raise WorkflowError(str(error)) from None


rule list_shards:
    input:
        shards=shards_to_list,
    output:
        table="<results>/lists/{stage}/{name}.csv",
        complete=f"<results>/lists/{{stage}}/{{name}}{COMPLETE}",
    log:
        "<logs>/list_shards/{stage}/{name}.log",
    benchmark:
        "<benchmarks>/list_shards/{stage}/{name}.tsv"
    wildcard_constraints:
        stage="|".join(LISTED),
        name="[^/]+",
    localrule: True
    conda:
        "../envs/geo.yaml"
    container:
        config["containers"]["geo"]
    threads: 1
    resources:
        **SMALL,
    message:
        "Listing the shards of {wildcards.stage} {wildcards.name}"
    script:
        "../scripts/list_shards.py"
