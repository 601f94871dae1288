# Sources and weights that the workflow reads: which of them it downloads, and which are missing.

import os
import re

from geoloc.config import file_mistakes, missing_paths
from geoloc.corpus.download import load_weights
from geoloc.corpus.unpack import ArchiveError, find_archive
from geoloc.matrix import is_trained

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
# Sources to retrieve. An existing folder is not the output of any job, because an edited script or
# --forceall would delete data that may not be available any more.
try:
    TO_RETRIEVE = [
        name
        for name, entry in ENTRIES.items()
        if entry and not SOURCES[name].path.exists()
        if entry["retrieve"] or (not config["demo"] and find_archive(FOLDERS[name]))
    ]
except ArchiveError as error:
    raise WorkflowError(str(error)) from None


def obstacle(path):
    """Why Snakemake can't make a folder; empty if it can."""
    if part := replaced_part(path):
        return f"Snakemake takes {part} for a wildcard"
    above = next(folder for folder in path.absolute().parents if folder.exists())
    return "" if os.access(above, os.W_OK) else f"{above} can't be written to"


RETRIEVED = [name for name in TO_RETRIEVE if not obstacle(SOURCES[name].path)]

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


SEGMENTATIONS_USED = sorted(
    {config["scores"][name]["segmentation"] for name in SCORES_USED + CROPS_USED}
)
WITH_PATHS = [
    *((f"sources.{name}", entry or {}) for name, entry in config["sources"].items()),
    *(
        (f"test_sets.{name}", entry or {})
        for name, entry in config["test_sets"].items()
    ),
    *((f"segmentations.{n}", config["segmentations"][n]) for n in SEGMENTATIONS_USED),
    *((f"scores.{name}", config["scores"][name]) for name in SCORES_USED),
    *((f"models.{name}", config["models"][name]) for name in MODEL_TITLES),
]
if workflow.is_main_process:
    if mistakes := list(file_mistakes(WITH_PATHS)):
        raise WorkflowError("\n".join(mistakes))
    # Only a warning: finished results don't need what they were made from.
    for told in missing_paths(WITH_PATHS, made_by_the_workflow):
        print(f"missing: {told}", file=sys.stderr)
    for path in [SOURCES[name].path for name in TO_RETRIEVE if name not in RETRIEVED]:
        print(
            f"missing: {path} can't be the target of a download or an archive, because "
            f"{obstacle(path)}; unpack its images there yourself, or set path to another folder "
            "and retrieve.archive to the archive",
            file=sys.stderr,
        )


def weights_entry(path):
    """The entry in config/weights.yaml of a file in resources/weights; empty for other files."""
    path = Path(path)
    return (
        WEIGHTS.get(path.name, {}) if path.parent == Path(RESOURCES, "weights") else {}
    )


def weights_before_index(wildcards):
    """All weights as long as the index does not exist, so that they are downloaded first and a dry
    run shows them. Later, only the jobs that read them require them."""
    if Path(INDEX, "countries.csv").exists():
        return []
    return as_input(WEIGHTS_USED)


def names_of(kind):
    """A wildcard constraint for the names in config/weights.yaml that have the key `kind`."""
    return "|".join(re.escape(name) for name, entry in WEIGHTS.items() if kind in entry)
