"""Which tests judge a change of which file: those that run in seconds and import the module."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

# They start Snakemake, other processes or real trainings for longer than a change may take.
SLOW = {
    "test_reruns", "test_workflow", "test_plan", "test_study_tree", "test_scenes",
    "test_sam_training", "test_demo_sam", "test_environments", "test_package", "test_retrieve",
    "test_retrieve_model",
}  # fmt: skip

# What tests of a module do not import but run: scripts and rules.
OF_FILES = {
    "scripts/": (
        "test_scripts_data",
        "test_scripts_models",
        "test_scripts_results",
        "test_store_index",
    ),
    "rules/": ("test_configuration_reaches",),
    "Snakefile": ("test_configuration_reaches",),
    "config/": ("test_published",),
}
# And what no quick test imports itself.
OF_MODULES = {
    "downloads": ("test_retrieve",),
    "file_starts": ("test_retrieve", "test_unpack"),
    "files": ("test_store_damage", "test_unpack"),
    "finite": ("test_torch_weights",),
    "retrieve": ("test_retrieve",),
    "stores/sink": ("test_files",),
    "system_files": ("test_hostile_archives", "test_listing"),
}
# What `make mutate` changes: the modules of the science, what passes values on to them, and the
# modules of safety.
SCIENCE = (
    "weighting", "scoring", "run_lengths", "crops", "augmentation", "batches", "split", "places",
    "index", "distances", "metrics", "table1", "predictions", "config", "population_statistics",
    "fused_normalization", "examples", "keras_predict", "models/__init__", "models/cnn",
    "models/transfer", "training", "training_state", "country_polygons", "geocode",
    "classifiers/__init__", "classifiers/base", "classifiers/efficientnet_lite0",
    "classifiers/resnet50", "segmenters/__init__", "segmenters/sam", "segmenters/sam_decoder",
    "segmenters/sam_models", "segmenters/sam_postprocess", "segmenting",
    "models/clip", "models/clip_architecture", "models/clip_training", "models/efficientnet_lite0",
    "study", "table_rows",
)  # fmt: skip
PASSING_ON = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (*sorted((ROOT / "scripts").glob("*.py")), *sorted((ROOT / "rules").glob("*.smk")))
)
SAFETY = (
    "stores/__init__", "stores/arrays", "stores/base", "stores/check", "stores/errors",
    "stores/images", "stores/layouts", "stores/manifests", "stores/masks", "stores/pairs",
    "stores/segments", "stores/sink", "stores/values",
    "images", "rgb", "files", "file_starts", "locks", "system_files", "packing", "leakage",
    "unpack", "segment_journal", "downloads", "retrieve",
    "archives/__init__", "archives/base", "archives/images", "archives/names", "archives/streams",
    "archives/tar_headers", "archives/tars", "archives/zips",
    "sources/__init__", "sources/base", "sources/contents", "sources/overlap",
    "sources/coordinates_table", "sources/country_folders", "sources/exif_folder",
    "sources/metadata_table", "sources/tables",
    "tensors", "torch_weights", "models/keras_weights", "models/clip_folder",
    "divergence", "finite", "probabilities", "read_predictions",
    "verify/command", "verify/index", "verify/loading", "verify/models", "verify/predictions",
    "verify/results", "verify/run", "verify/shards",
)  # fmt: skip


def tests_of(path: str) -> list[str]:
    """Test files for a file of the project, both as paths from its root."""
    if path.startswith("scripts/geoloc/"):
        module = path.removeprefix("scripts/").removesuffix(".py").replace("/", ".")
        names = {name for name, modules in _imports().items() if _uses(modules, module)}
        names |= {*OF_MODULES.get(module.removeprefix("geoloc.").replace(".", "/"), ())}
    else:
        names = {n for start, found in OF_FILES.items() if path.startswith(start) for n in found}
    return [f"tests/{name}.py" for name in sorted(names)]


def _uses(imported: set[str], module: str) -> bool:
    """Whether a module is imported, or its package, which imports modules by their names."""
    names = {module.removesuffix(".__init__"), module.rpartition(".")[0]} - {"geoloc"}
    return not names.isdisjoint(imported)


@cache
def _imports() -> dict[str, set[str]]:
    """Modules of geoloc that each quick test file imports, or a script that it runs."""
    found = {}
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        if path.stem not in SLOW:
            text = path.read_text(encoding="utf-8")
            scripts = re.findall(r"run_script\(\s*\"(\w+)\"", text)
            texts = [(ROOT / f"scripts/{name}.py").read_text(encoding="utf-8") for name in scripts]
            found[path.stem] = set().union(*map(_imported, [text, *texts]))
    return found


def _imported(text: str) -> set[str]:
    """`geoloc.a` and `geoloc.a.b` of `from geoloc.a import b`."""
    modules = set(re.findall(r"^(?:from|import) (geoloc[\w.]*)", text, re.MULTILINE))
    for package, names in re.findall(
        r"^from (geoloc[\w.]*) import \(?([^)]*?)(?:\)|$)", text, re.MULTILINE | re.DOTALL
    ):
        modules |= {f"{package}.{name.strip()}" for name in names.split(",")}
    return modules
