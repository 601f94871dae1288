"""Which tests judge a change of which file: those that run in seconds and import the module."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

# They start Snakemake, other processes or real trainings for longer than a change may take.
SLOW = {
    "test_photos", "test_reruns", "test_workflow", "test_console", "test_module", "test_estimate",
    "test_study_tree", "test_scenes", "test_sam_training", "test_demo_sam", "test_environments",
    "test_package", "test_retrieve_model", "test_slurm", "test_containers",
}  # fmt: skip
# What is imported by its name in the configuration, by the module that imports it.
BY_NAME = {
    "geoloc.keras_models.build": (
        "geoloc.keras_models.cnn", "geoloc.keras_models.transfer", "geoloc.keras_models.layers",
        "geoloc.keras_models.efficientnet_lite0", "geoloc.keras_models.resnet50",
    ),
    "geoloc.keras_models.transfer": (
        "geoloc.keras_models.efficientnet_lite0", "geoloc.keras_models.resnet50",
    ),
    "geoloc.segmentation.segmenters": (
        "geoloc.segmentation.segmenters.sam.generator",
        "geoloc.segmentation.segmenters.sam.point_grid",
        "geoloc.segmentation.segmenters.sam.models",
        "geoloc.segmentation.segmenters.sam.decoder",
        "geoloc.segmentation.segmenters.sam.postprocess",
        "geoloc.segmentation.segmenters.sam.sam2",
        "geoloc.segmentation.segmenters.semantic.segmenter",
        "geoloc.segmentation.segmenters.semantic.networks",
        "geoloc.segmentation.segmenters.semantic.regions",
    ),
}  # fmt: skip
# Packages of which a test uses one module without the others.
ROOMS = {
    "geoloc", "geoloc.countries", "geoloc.corpus", "geoloc.segmentation", "geoloc.pytorch",
    "geoloc.keras_models", "geoloc.image_text", "geoloc.coordinates", "geoloc.evaluation",
    "geoloc.cli",
}  # fmt: skip

# What tests do not import but plan.
OF_FILES = {
    "rules/": ("workflow/test_configuration_reaches",),
    "Snakefile": ("workflow/test_configuration_reaches",),
    "config/": ("workflow/test_published",),
}
# And what no quick test imports itself.
OF_MODULES = {
    "corpus/download": ("corpus/test_retrieve",),
    "corpus/download_checks": ("corpus/test_retrieve",),
    "corpus/file_starts": ("corpus/test_retrieve", "corpus/test_unpack"),
    "corpus/retrieve": ("corpus/test_retrieve",),
    "corpus/system_files": ("corpus/test_hostile_archives", "corpus/test_listing"),
    "files": ("stores/test_damage", "corpus/test_unpack"),
    "explain/influence": ("explain/test_row",),
    "image_text/retrieve": ("corpus/test_retrieve_model",),
    "keras_models/user_network": ("keras_models/test_user_network",),
    "model_record": ("test_model_record", "keras_models/test_weights", "keras_models/test_cells"),
    "config/check": ("test_config",),
    "config/matrix_mistakes": ("test_config",),
    "config/prompts": ("test_config",),
    "pytorch/finite": ("pytorch/test_weights",),
    "pytorch/model_folder": ("image_text/test_folder", "segmentation/test_semantic"),
    "stores/sink": ("test_files",),
    "user_file": ("evaluation/test_user_model",),
}
# What `make mutate` changes: the modules of the science, what passes values on to them, and the
# modules of safety.
SCIENCE = (
    "weighting", "registry", "segmentation/scoring", "segmentation/rle", "segmentation/crops",
    "segmentation/vocabularies", "segmentation/segments", "segmentation/kinds",
    "keras_models/augmentation", "keras_models/batches", "corpus/split", "corpus/spatial_split",
    "corpus/index", "corpus/index_tables", "evaluation/distances", "evaluation/metrics",
    "evaluation/intervals",
    "evaluation/table1", "evaluation/predictions", "config/check", "config/prompts",
    "keras_models/batch_norm",
    "keras_models/fused_batch_norm", "evaluation/examples", "keras_models/predict",
    "keras_models/build", "keras_models/cnn", "keras_models/layers", "keras_models/resnet50",
    "keras_models/transfer", "keras_models/training", "keras_models/checkpoint",
    "countries/polygons", "countries/geocoding", "countries/names",
    "segmentation/classifiers/__init__", "segmentation/classifiers/base",
    "segmentation/classifiers/efficientnet_lite0", "segmentation/classifiers/resnet50",
    "segmentation/segmenters/__init__", "segmentation/segmenters/sam/generator",
    "segmentation/segmenters/sam/decoder", "segmentation/segmenters/sam/models",
    "segmentation/segmenters/sam/postprocess", "segmentation/segmenters/sam/point_grid",
    "segmentation/segmenters/sam/sam2", "segmentation/segmenters/semantic/networks",
    "segmentation/segmenters/semantic/regions", "segmentation/segmenters/semantic/segmenter",
    "segmentation/shard", "image_text/zero_shot",
    "evaluation/full_size", "image_text/architecture", "image_text/training",
    "keras_models/efficientnet_lite0", "keras_models/applications", "keras_models/cells",
    "countries/cells", "countries/places", "coordinates/geoclip", "evaluation/user_model",
    "evaluation/study", "matrix", "config/matrix_mistakes", "config/entries",
    "evaluation/answers", "evaluation/by_country", "evaluation/compare_runs",
    "evaluation/evidence", "evaluation/few_authors",
    "evaluation/comparisons", "evaluation/found", "evaluation/published_distances",
    "evaluation/verdict", "explain/changes", "explain/clip_probe", "explain/faithfulness",
    "explain/full_size", "explain/influence", "explain/keras_probe", "explain/methods",
    "explain/objects", "explain/random_labels", "explain/randomization", "explain/relevance",
    "explain/row", "explain/sample", "explain/tables", "image_text/tokenizer",
    "keras_models/multi_gpu", "keras_models/runtime", "segmentation/classifiers/demo_objects",
    "segmentation/objects", "stores/datasets",
)  # fmt: skip
PASSING_ON = tuple(
    path.relative_to(ROOT).as_posix()
    for path in (*sorted((ROOT / "scripts").glob("*.py")), *sorted((ROOT / "rules").glob("*.smk")))
)
SAFETY = (
    "stores/__init__", "stores/arrays", "stores/base", "stores/check", "stores/errors",
    "stores/images", "stores/layouts", "stores/manifests", "stores/scores", "stores/pairs",
    "stores/segments", "stores/sink", "stores/values", "images", "rgb", "files",
    "stores/lists", "shard_lists",
    "corpus/file_starts", "locks", "corpus/system_files", "corpus/pack", "corpus/prepare",
    "corpus/quarantine", "evaluation/leakage", "corpus/unpack", "segmentation/journal",
    "corpus/download", "corpus/download_checks", "corpus/retrieve", "corpus/archives/__init__",
    "corpus/archives/base", "corpus/archives/images", "corpus/archives/names",
    "corpus/archives/streams", "corpus/archives/tar_headers", "corpus/archives/tars",
    "corpus/archives/zips", "corpus/sources/__init__", "corpus/sources/base",
    "corpus/sources/contents", "corpus/sources/overlap", "corpus/sources/coordinates_table",
    "corpus/sources/country_folders", "corpus/sources/exif_folder", "corpus/sources/metadata_table",
    "corpus/sources/tables", "tensors", "pytorch/weights", "keras_models/weights",
    "image_text/folder", "pytorch/model_folder", "keras_models/divergence", "pytorch/finite",
    "probabilities",
    "user_file", "evaluation/read_predictions", "verify/command", "verify/index", "verify/loading",
    "verify/models", "verify/predictions", "verify/results", "verify/run", "verify/shards",
    "verify/strays", "verify/explanations", "config/files", "config/missing", "config/paths",
    "config/schema",
    "corpus/sources/user_source", "evaluation/hash_search", "gpus", "image_text/checkpoint",
    "image_text/retrieve", "keras_models/user_network", "model_record", "prefetch",
    "pytorch/device", "segmentation/segmenters/sam/postprocess_gpu",
    "segmentation/segmenters/user_segmenter", "stores/boxes", "stores/explanations", "tables",
)  # fmt: skip
# What draws, prints or describes a run, and what only names things.
PRESENTING = (
    "arguments", "cli/", "config/errors", "errors", "evaluation/figures",
    "evaluation/found_examples", "explain/figure", "explore/", "keras_models/epoch_log", "logs",
    "progress", "report/", "segmentation/classifiers/efficientnet_lite0_export", "types",
    "verify/report",
)  # fmt: skip


def tests_of(path: str) -> list[str]:
    """Test files for a file of the project, both as paths from its root."""
    if path.startswith("scripts/geoloc/"):
        module = path.removeprefix("scripts/").removesuffix(".py").replace("/", ".")
        tests = {str(test) for test, modules in _imports().items() if _uses(modules, module)}
        names = OF_MODULES.get(module.removeprefix("geoloc.").replace(".", "/"), ())
    else:
        tests = {str(test) for test in _test_files() if path in _scripts_run(test)}
        names = {n for start, found in OF_FILES.items() if path.startswith(start) for n in found}
    return sorted(tests | {f"tests/{name}.py" for name in names})


def _uses(imported: set[str], module: str) -> bool:
    """Whether a module is imported, or its package, which imports modules by their names."""
    names = {module.removesuffix(".__init__"), module.rpartition(".")[0]} - ROOMS
    return not names.isdisjoint(imported)


def _test_files() -> list[Path]:
    """Quick test files, from the project's root."""
    files = (path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
    return sorted(file for file in files if file.stem not in SLOW)


@cache
def _imports() -> dict[Path, set[str]]:
    """Modules of geoloc that each quick test file imports, or a script that it runs."""
    found = {}
    for path in _test_files():
        text = (ROOT / path).read_text(encoding="utf-8")
        scripts = re.findall(r"run_script\(\s*\"(\w+)\"", text)
        texts = [(ROOT / f"scripts/{name}.py").read_text(encoding="utf-8") for name in scripts]
        found[path] = set().union(*map(_imported, [text, *texts]))
    return found


@cache
def _scripts_run(path: Path) -> set[str]:
    """The scripts that a test file runs: first arguments of calls, or keys of a table of them."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if "run_script" not in text:
        return set()
    names = re.findall(r'\(\s*"(\w+)",|^    "(\w+)": ', text, re.MULTILINE)
    return {f"scripts/{name}.py" for pair in names for name in pair if name}


def _imported(text: str) -> set[str]:
    """`geoloc.a` and `geoloc.a.b` of `from geoloc.a import b`."""
    modules = set(re.findall(r"^(?:from|import) (geoloc[\w.]*)", text, re.MULTILINE))
    for package, names in re.findall(
        r"^from (geoloc[\w.]*) import \(?([^)]*?)(?:\)|$)", text, re.MULTILINE | re.DOTALL
    ):
        modules |= {f"{package}.{name.strip()}" for name in names.split(",")}
    return modules.union(*(BY_NAME.get(module, ()) for module in modules))
