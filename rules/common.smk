# Shared by all rules: the checked configuration, wildcards, paths and lists of targets.

import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import available_cpu_count

# The project's folder; workflow.basedir is another one if a workflow uses this one as a module.
ROOT = Path(workflow.snakefile).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from geoloc.config import (
    ConfigError,
    check_config,
    check_keys_once,
    default_config,
    files_of,
    load_schema,
    missing_paths,
    order_entries,
    place_paths,
    write_config,
)
from geoloc.corpus.index_tables import read_shards as read_shards_of
from geoloc.errors import GeolocError
from geoloc.corpus.download import load_weights, wrong_sizes
from geoloc.corpus.sources import (
    SourceError,
    check_folders,
    configured_sources,
    listing_digest,
)
from geoloc.corpus.unpack import ArchiveError, find_archive
from geoloc.evaluation.published_distances import published_test_sets
from geoloc.evaluation.study import differences, study_models
from geoloc.locks import hold_while_running, interrupted
from geoloc.matrix import (
    DEFAULT,
    ROOMS,
    answer_settings,
    columns,
    dataset_settings,
    dataset_titles,
    explained_rows,
    explained_scores,
    figure_titles,
    is_trained,
    model_titles,
    rows,
    street_test_sets,
    used_crops,
    used_files,
    used_scores,
)
from geoloc.report.code_version import code_version
from geoloc.segmentation.vocabularies import (
    class_list_mistakes,
    is_vocabulary_file,
    vocabulary_of,
)


def placed(path):
    """The path with a module's prefix. Snakemake has no public way to get it."""
    return workflow.modifier.modify_path(path)


if workflow.is_main_process:
    # Snakemake writes the path of Python unquoted into the command of a job.
    if re.search(r"[\s\"'`$&;|<>()*?\[\]{}\\!#~]", sys.executable):
        raise WorkflowError(
            f"Python is at {sys.executable}, but Snakemake can't start jobs from a path with "
            "spaces, quotes or other characters of the shell; move the project and run make setup"
        )
    if {"{", "}"} & set(str(ROOT)):
        raise WorkflowError(
            f"the project is in {ROOT}, but Snakemake takes braces for wildcards; rename it"
        )


SCHEMA = load_schema(ROOT / "config/config.schema.yaml")
try:
    if workflow.is_main_process:
        check_keys_once(workflow.configfiles)
    check_config(config, SCHEMA)
except ConfigError as error:
    raise WorkflowError(str(error)) from None
order_entries(config, load_schema(ROOT / "config/config.yaml"))
# For inputs and outputs: Snakemake adds the module's prefix to these itself.
FOLDERS = {source.name: source.path for source in configured_sources(config)}
config = place_paths(config, ROOT, placed)


# Snakemake's lock does not say whose it is.
RUNNING, HELD = Path(f".snakemake/{config['run']}.running"), []
if workflow.is_main_process and "--unlock" not in sys.argv:
    if any(Path(".snakemake/locks").glob("*.lock")) and (told := interrupted(RUNNING)):
        print(told, file=sys.stderr)


# Snakemake has no public way to ask for this; without it, each job would fail.
if "apptainer" in map(str, workflow.deployment_settings.deployment_method):
    missing_images = [
        path
        for path in config["containers"].values()
        if "://" not in path and not Path(path).exists()
    ]
    if missing_images and workflow.is_main_process:
        raise WorkflowError(
            f"images are missing: {', '.join(missing_images)}; build them with "
            "`make containers`, or set their paths below containers in the configuration"
        )


if workflow.nodes is None and workflow.is_main_process:  # jobs run on this machine
    if workflow.resource_settings.cores is None:
        # Not in a profile: on a cluster, it would limit the threads of jobs to this node's cores.
        # Snakemake has no public way to set a default here.
        workflow.resource_settings.cores = available_cpu_count()
        workflow.register_resource("_cores", workflow.resource_settings.cores)
    if "gpu" not in workflow.global_resources and shutil.which("nvidia-smi"):
        # Otherwise, jobs that run at the same time would share the first GPU.
        workflow.register_resource("gpu", 1)


pathvars:
    results=f"results/{config['run']}",
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",
    resources="resources",


RESULTS, RESOURCES = (
    str(placed(workflow.pathvars.apply(name))) for name in ("<results>", "<resources>")
)
# Every job checks the stores that it reads against the index.
INDEX = f"{RESULTS}/index"
SOURCES = {source.name: source for source in configured_sources(config)}
try:
    check_folders(list(SOURCES.values()))
except SourceError as error:
    raise WorkflowError(str(error)) from None
TEST_SETS = [name for name, source in SOURCES.items() if source.collection == name]
ROWS = rows(config)
TRAINED_ROWS = rows(config, trained=True)
MODEL_TITLES = model_titles(config)
DATASET_TITLES = {row.dataset: dataset_titles(config)[row.dataset] for row in ROWS}
DIFFERENCES_FROM_STUDY = differences(config, SCHEMA)
# Score maps, and crops, that some row is trained or tested on.
VIEWS_USED = [
    settings
    for row in ROWS
    for settings in street_test_sets(config, row.dataset).values()
]
SCORES_USED, CROPS_USED = used_scores(*VIEWS_USED), used_crops(*VIEWS_USED)
if workflow.is_main_process:
    if mistakes := class_list_mistakes(config, [*SCORES_USED, *CROPS_USED]):
        raise WorkflowError("\n".join(mistakes))
WEIGHTS = load_weights(ROOT / "config/weights.yaml")
# Without those of models that only `predict` loads.
WEIGHTS_USED = [
    path
    for entry in [
        *(
            config["segmentations"][config["scores"][name]["segmentation"]]
            for name in SCORES_USED + CROPS_USED
        ),
        *(entry for entry in config["models"].values() if is_trained(entry)),
    ]
    for path in files_of(entry)
]
ENTRIES = config["sources"] | config["test_sets"]
# Sources to retrieve. An existing folder is not the output of any job, because an edited script or
# --forceall would delete data that may not be available any more.
try:
    RETRIEVED = [
        name
        for name, entry in ENTRIES.items()
        if entry and not SOURCES[name].path.exists()
        if entry["retrieve"] or (not config["demo"] and find_archive(FOLDERS[name]))
    ]
except ArchiveError as error:
    raise WorkflowError(str(error)) from None


# The names of those that are not in the folder of resources, by their folders.
RETRIEVED_ELSEWHERE = {
    str(FOLDERS[name]): name
    for name in RETRIEVED
    if SOURCES[name].path != Path(RESOURCES, name)
}


def made_by_the_workflow(path):
    """Whether a rule makes or downloads a configured path."""
    of_demo = config["demo"] and path in [
        str(source.path) for source in SOURCES.values()
    ]
    name, weights = Path(path).name, Path(path).parent == Path(RESOURCES, "weights")
    return (
        of_demo
        or path in [str(SOURCES[name].path) for name in RETRIEVED]
        or (weights and bool({"url", "hub_id"} & set(WEIGHTS.get(name, ()))))
        or (weights and name == "efficientnet_lite0.safetensors")
    )


# Only a warning: finished results don't need what they were made from.
if workflow.is_main_process:
    segmentations_used = {
        config["scores"][name]["segmentation"] for name in SCORES_USED + CROPS_USED
    }
    for told in missing_paths(
        [
            *(
                (f"sources.{name}", entry or {})
                for name, entry in config["sources"].items()
            ),
            *(
                (f"test_sets.{name}", entry or {})
                for name, entry in config["test_sets"].items()
            ),
            *(
                (f"segmentations.{n}", config["segmentations"][n])
                for n in sorted(segmentations_used)
            ),
            *((f"scores.{name}", config["scores"][name]) for name in SCORES_USED),
            *((f"models.{name}", config["models"][name]) for name in MODEL_TITLES),
        ],
        made_by_the_workflow,
    ):
        print(f"missing: {told}", file=sys.stderr)

# Keys of a source that do not affect the index.
NOT_FOR_THE_INDEX = ("crop", "size", "retrieve", "title")


wildcard_constraints:
    collection="|".join(["street", *TEST_SETS]),
    country="[A-Z]{2}",
    shard="[0-9]+",
    segmentation="|".join(config["segmentations"]) or "none",
    scores="|".join(config["scores"]) or "none",
    model="|".join(config["models"]),
    dataset="|".join([*config["datasets"], DEFAULT]),
    seed="[0-9]+|any",


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


def untracked(value):
    """A parameter whose changes rerun no finished job: a value, or a function of the wildcards.
    Snakemake compares parameters with those of the last run, except functions of `output`.
    """
    return lambda wildcards, output: value(wildcards) if callable(value) else value


# Resources of jobs that take seconds and run on the machine where Snakemake runs.
SMALL = {"mem_mb": 2000, "runtime": 10}


def entries_for_the_index(kind):
    """The sources or test sets, reduced to the keys that the index depends on. Otherwise a new
    title would update images.parquet and so rerun all predictions."""
    return {
        name: {k: entry[k] for k in sorted(entry) if k not in NOT_FOR_THE_INDEX}
        for name, entry in config[kind].items()
        if entry
    }


def preparation(wildcards):
    """Crop and size by source, for the sources that have images in the shard."""
    path = f"{INDEX}/shards.csv"
    sources = read_shards(path, os.stat(path).st_mtime_ns)
    names = sources[wildcards.collection, wildcards.country, wildcards.shard]
    return {n: vars(SOURCES[n].preparation) for n in names if n in SOURCES}


def weights_entry(path):
    """The entry in config/weights.yaml of a file in resources/weights; empty for other files."""
    path = Path(path)
    return (
        WEIGHTS.get(path.name, {}) if path.parent == Path(RESOURCES, "weights") else {}
    )


def names_of(kind):
    """A wildcard constraint for the names in config/weights.yaml that have the key `kind`."""
    return "|".join(re.escape(name) for name, entry in WEIGHTS.items() if kind in entry)


def weights_before_index(wildcards):
    """All weights as long as the index does not exist, so that they are downloaded first and a dry
    run shows them. Later, only the jobs that read them require them."""
    if Path(INDEX, "countries.csv").exists():
        return []
    return WEIGHTS_USED
