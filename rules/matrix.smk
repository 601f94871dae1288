# What the entries of the matrix (segmentations, scores, datasets, models, seeds) mean for the rules.

from geoloc.matrix import (
    ROOMS,
    Row,
    dataset_settings,
    explained_rows,
    explained_scores,
    is_trained,
    rows_of_random_labels,
    used_files,
)
from geoloc.segmentation.vocabularies import is_vocabulary_file, vocabulary_of

# Keys of a model that do not change its training.
NOT_FOR_TRAINING = ("title", "datasets", "prompt", "path")


def scores_of(pattern, names):
    """Return an input function that lists the file `pattern` of every street shard, for each of the
    score maps that `names` returns for the wildcards, in order."""

    def files(wildcards):
        return [
            file
            for name in names(wildcards)
            for file in of_shards(pattern.replace("{scores}", name), "street")(
                wildcards
            )
        ]

    return files


def models_of(*rooms, trained=None):
    """A wildcard constraint for the models of some packages, see `geoloc.matrix.rows`."""
    names = {row.model for row in rows(config, *rooms, trained=trained)}
    return "|".join(sorted(names)) or "none"


def models_of_kinds(*kinds):
    """A wildcard constraint for the models of some kinds."""
    names = [name for name, entry in config["models"].items() if entry["kind"] in kinds]
    return "|".join(sorted(names)) or "none"


def cells_of_model(wildcards):
    """What the outputs of a model of cells stand for; nothing for other models."""
    if config["models"][wildcards.model]["kind"] != "cells":
        return []
    return f"<results>/models/{wildcards.model}/{wildcards.dataset}/{wildcards.seed}/cells.json"


def clip_folder(wildcards):
    """The folder of a CLIP, trained here or elsewhere."""
    entry = config["models"][wildcards.model]
    if is_trained(entry):
        return (
            f"<results>/models/{wildcards.model}/{wildcards.dataset}/{wildcards.seed}"
        )
    return as_input(entry["path"])


def file_of_network(wildcards):
    """The Python file of a model of the kind `keras`; nothing for other models."""
    entry = config["models"][wildcards.model]
    return as_input(entry["file"]) if entry["kind"] == "keras" else []


def model_setting(key):
    """A function of the wildcards that returns a key of the entry of a model."""
    return lambda wildcards: config["models"][wildcards.model][key]


def model_file(key):
    """Input function: the file or folder that a key of a model names; nothing if it is null."""
    return lambda wildcards: as_input(config["models"][wildcards.model][key] or [])


def score_setting(key):
    """A function of the wildcards that returns a key of the entry of score maps."""
    return lambda wildcards: config["scores"][wildcards.scores][key]


def class_list(wildcards):
    """The file of the classes that score maps are made of."""
    return as_input(config["scores"][wildcards.scores]["classes"])


def training_view(wildcards):
    """How the dataset of a row shows images."""
    return dataset_settings(config, wildcards.dataset)


def test_views(wildcards):
    """How images are shown in the test sets of a row, by dataset."""
    return street_test_sets(config, wildcards.dataset)


def training_scores(wildcards):
    """Names of the score maps that a row is trained on."""
    return used_scores(training_view(wildcards))


def training_crops(wildcards):
    """Names of the score maps by whose best objects a row's images are cropped in training."""
    return used_crops(training_view(wildcards))


def test_crops(wildcards):
    """The same for the images that a row is tested on."""
    return used_crops(*test_views(wildcards).values())


def test_scores(wildcards):
    """Names of the score maps that a row is tested on."""
    return used_scores(*test_views(wildcards).values())


def training_files(wildcards):
    """Python files of the dataset that a row is trained on."""
    return as_input(used_files(training_view(wildcards)))


def test_files(wildcards):
    """Python files of the datasets that a row is tested on."""
    return as_input(used_files(*test_views(wildcards).values()))


def segmentation(wildcards):
    """The entry of a segmentation without what changes no result."""
    entry = config["segmentations"][wildcards.segmentation]
    return {key: value for key, value in entry.items() if key != "engine"}


def segments_to_score(wildcards):
    """The segments that score maps are made from."""
    name = config["scores"][wildcards.scores]["segmentation"]
    return f"<results>/segments/{name}/{wildcards.country}/{wildcards.shard}.h5"


def all_segments_to_score(wildcards):
    """The same of all shards."""
    name = config["scores"][wildcards.scores]["segmentation"]
    pattern = f"<results>/segments/{name}/{{country}}/{{shard}}.h5"
    return of_shards(pattern, "street")(wildcards)


def vocabulary_to_score(wildcards):
    """The vocabulary of the segmentation that score maps are made from."""
    name = config["scores"][wildcards.scores]["segmentation"]
    return vocabulary_of(config["segmentations"][name])


def vocabulary_file(wildcards):
    """The file of that vocabulary, if it is of a user's segmenter."""
    name = vocabulary_to_score(wildcards)
    return as_input(name) if is_vocabulary_file(name) else []


def model_to_train(wildcards):
    """The entry of a model, reduced to the keys that its training depends on."""
    entry = config["models"][wildcards.model]
    return {k: v for k, v in entry.items() if k not in NOT_FOR_TRAINING}


def clip_parameters(wildcards):
    """Options of ClipParameters. The kind `clip` has only the defaults, which are the demo's."""
    entry = model_to_train(wildcards)
    if entry.pop("kind") == "clip":
        return {}
    return entry


# How the datasets show images that are weighted by score maps which some row needs, by name.
VIEWS_OF_SCORES = {
    name: dataset_settings(config, name)
    for name in config["datasets"]
    if dataset_settings(config, name)["curve"] != "none"
    and dataset_settings(config, name)["scores"] in SCORES_USED
}


def weighted_views(wildcards):
    """How the datasets that weight images by some score maps show them, by title."""
    shown = {name: dataset_settings(config, name) for name in config["datasets"]}
    return {
        dataset_titles(config)[name]: settings
        for name, settings in shown.items()
        if settings.get("scores") == wildcards.scores
        and settings.get("scores_of") == "self"
    }


def weighting_files(wildcards):
    """Python files of the datasets that weight images by some score maps."""
    return as_input(used_files(*weighted_views(wildcards).values()))


def curve_titles():
    """Title of the model and of its panel for each training, in the order of the inputs."""
    return [
        (MODEL_TITLES[row.model], trained_on(row))
        for room in ("keras_models", "image_text")
        for row in rows(config, room, trained=True)
    ]


def trained_on(row):
    """What a row was trained on, in words."""
    text = (
        "trained on unchanged images"
        if row.dataset == DEFAULT
        else f"trained on {DATASET_TITLES[row.dataset]}"
    )
    return f"{text}, seed {row.seed}" if config["seeds"] else text


# Rows whose answers are explained.
EXPLAINED = explained_rows(config)
RANDOM_LABELS = rows_of_random_labels(config)
EXPLAINED_MODELS = list(dict.fromkeys(row.model for row in EXPLAINED))


def model_of_random_labels(wildcards):
    """The model of a row that is trained on random labels; nothing if there is none."""
    row = Row(wildcards.model, wildcards.dataset, wildcards.seed)
    if row not in RANDOM_LABELS:
        return []
    folder = f"<results>/random_labels/{row.path}"
    in_torch = ROOMS[config["models"][row.model]["kind"]] == "image_text"
    return folder if in_torch else f"{folder}/model.keras"


def entry_to_explain(wildcards):
    """The entry in `scores` of these score maps."""
    return config["scores"][explained_scores(config, wildcards.dataset)]


def explained_setting(key):
    """A function of the wildcards that returns a key of the entry of these score maps."""
    return lambda wildcards: entry_to_explain(wildcards)[key]


def class_list_to_explain(wildcards):
    """The file of the classes that they are made of."""
    return as_input(entry_to_explain(wildcards)["classes"])


def segmentation_to_explain(wildcards):
    """The entry in `segmentations` that they were made from."""
    return config["segmentations"][entry_to_explain(wildcards)["segmentation"]]


def segments_to_explain(wildcards):
    """The lists of its segments."""
    return lists_of("segments", entry_to_explain(wildcards)["segmentation"])


def vocabulary_to_explain(wildcards):
    """The file of its vocabulary, if it is of a user's segmenter."""
    name = vocabulary_of(segmentation_to_explain(wildcards))
    return as_input(name) if is_vocabulary_file(name) else []


def example_rows(wildcards):
    """Rows of a model whose examples its figure shows: those of the first seed."""
    first = {row.dataset: row for row in reversed(EXPLAINED)}
    return [
        row
        for row in EXPLAINED
        if row.model == wildcards.model and row.seed == first[row.dataset].seed
    ]


def example_scores(wildcards):
    """Name of the score maps of each of these rows."""
    return [explained_scores(config, row.dataset) for row in example_rows(wildcards)]


def example_views(wildcards):
    """How the datasets of these rows show images, by name."""
    datasets = [row.dataset for row in example_rows(wildcards)]
    return {name: dataset_settings(config, name) for name in datasets}
