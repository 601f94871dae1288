# Functions that several stages use for their inputs, resources and parameters.

import os
from functools import cache

from geoloc.corpus.index_tables import count_images
from geoloc.corpus.index_tables import read_shards as read_shards_of
from geoloc.corpus.sources import listing_digest
from geoloc.errors import GeolocError
from geoloc.shard_lists import COMPLETE


@cache
def read_shards(path, modified):
    """Source names of every shard of the index by (collection, country, shard); cached until the
    file changes."""
    try:
        return read_shards_of(Path(path).parent)
    except GeolocError as error:
        raise WorkflowError(str(error)) from None


def of_shards(pattern, *collections):
    """Return an input function that lists the file `pattern` of every shard of the collections. It
    waits for the index, which determines the shards."""

    def files(wildcards):
        path = str(checkpoints.index.get().output.shards)
        shards = read_shards(path, os.stat(path).st_mtime_ns)
        return [
            pattern.format(collection=collection, country=country, shard=shard)
            for collection, country, shard in shards
            if collection in collections
        ]

    return files


def lists_of(stage, *names):
    """The lists of the shards of a stage, one for each collection or entry of the configuration,
    and the files that say that no shard is missing (see rules/list_shards.smk)."""
    return [
        f"<results>/lists/{stage}/{name}{suffix}"
        for name in names
        for suffix in (".csv", COMPLETE)
    ]


# Files of the shards of each stage.
LISTED = {
    "images": [".h5"],
    "segments": [".h5"],
    "scores": [".h5"],
    "arrays/images": [".h5"],
    "arrays/scores": [".h5"],
    "arrays/crops": [".h5", ".csv"],
}


def listings(wildcards):
    """Digest of each source's listing: new and deleted files rerun the index."""
    # Snakemake evaluates this once more when all sources are retrieved, but would record what it
    # has cached while it planned, when folders may have been missing. It has no public way to
    # forget that.
    forget = getattr(workflow.persistence._params, "cache_clear", None)
    if forget:
        forget()
    return {name: listing_digest(source) for name, source in sorted(SOURCES.items())}


def shards_to_list(wildcards):
    """The shards of a stage; only images have other collections than those of the street."""
    stage, name = wildcards.stage, wildcards.name
    of_images = stage.endswith("images")
    folder = f"<results>/{stage}/{name}/{{country}}/{{shard}}"
    return [
        file
        for suffix in LISTED[stage]
        for file in of_shards(folder + suffix, name if of_images else "street")(
            wildcards
        )
    ]


def countries_table(wildcards):
    """Input function: the table of countries, which defines the classes of all models."""
    return checkpoints.index.get().output.countries


def scaled(amount):
    """A resource that grows with each attempt, for jobs that were killed because it ran out."""
    return lambda wildcards, attempt: amount * attempt


def decoding():
    """Memory in MB needed to decode the largest allowed image, up to 17 bytes per pixel
    (docs/data.md)."""
    return int(17 * config["prepare"]["max_megapixels"])


def memory_to_compare(wildcards, attempt):
    """Memory in MB to decode images first, then to compare all of them: 2.8 GiB for 5.1 million
    (docs/scale.md)."""
    return attempt * (2000 + max(decoding(), count_images(INDEX) * 6 // 10000))


def untracked(value):
    """A parameter whose changes rerun no finished job: a value, or a function of the wildcards.
    Snakemake compares parameters with those of the last run, except functions of `output`.
    """
    return lambda wildcards, output: value(wildcards) if callable(value) else value


# Resources of jobs that take seconds and run on the machine where Snakemake runs.
SMALL = {"mem_mb": 2000, "runtime": 10}


def sources_of_shard(wildcards):
    """Names of the sources of a shard. Waits for the index, so that a file of a single shard can be
    asked for before any shard is known."""
    path = str(checkpoints.index.get().output.shards)
    shards = read_shards(path, os.stat(path).st_mtime_ns)
    shard = wildcards.collection, wildcards.country, wildcards.shard
    if shard not in shards:
        raise WorkflowError(f"there is no shard {'/'.join(shard)}; {path} lists them")
    return shards[shard]


def manifest(wildcards):
    """Input function: the list of a shard's images."""
    sources_of_shard(wildcards)
    return "<results>/index/shards/{collection}/{country}/{shard}.csv"


def preparation(wildcards):
    """Crop and size by source, for the sources that have images in the shard."""
    names = sources_of_shard(wildcards)
    return {n: vars(SOURCES[n].preparation) for n in names if n in SOURCES}
