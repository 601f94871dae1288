# Names of what the configuration asks for: sources and test sets, rows, and what these need.

from geoloc.corpus.sources import SourceError, check_folders
from geoloc.evaluation.published_distances import published_test_sets
from geoloc.evaluation.study import differences
from geoloc.matrix import (
    DEFAULT,
    dataset_titles,
    model_titles,
    rows,
    street_test_sets,
    used_crops,
    used_scores,
)
from geoloc.segmentation.vocabularies import class_list_mistakes

ENTRIES = config["sources"] | config["test_sets"]
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


wildcard_constraints:
    collection="|".join(["street", *TEST_SETS]),
    country="[A-Z]{2}",
    shard="[0-9]+",
    segmentation="|".join(config["segmentations"]) or "none",
    scores="|".join(config["scores"]) or "none",
    model="|".join(config["models"]),
    dataset="|".join([*config["datasets"], DEFAULT]),
    seed="[0-9]+|any",


# Keys of a source that do not affect the index.
NOT_FOR_THE_INDEX = ("crop", "size", "retrieve", "title")


def entries_for_the_index(kind):
    """The sources or test sets, reduced to the keys that the index depends on. Otherwise a new
    title would update images.parquet and so rerun all predictions."""
    return {
        name: {k: entry[k] for k in sorted(entry) if k not in NOT_FOR_THE_INDEX}
        for name, entry in config[kind].items()
        if entry
    }
