import copy
import datetime
import re

import pytest
import yaml

from geoloc.config import (
    ConfigError,
    check_config,
    check_keys_once,
    default_config,
    file_mistakes,
    link_name,
    load_schema,
    missing_paths,
    order_entries,
    place_paths,
    read_config,
    read_written_config,
    replaced_part,
    set_link,
    write_config,
)
from geoloc.config.entries import set_titles
from geoloc.corpus.sources import configured_sources
from tests.conftest import ROOT

SCHEMA = load_schema(ROOT / "config/config.schema.yaml")
STUDY = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))


def leaves(schema, path=()):
    for key, entry in schema.get("properties", {}).items():
        if "properties" in entry:
            yield from leaves(entry, (*path, key))
        else:
            yield (*path, key), entry


def test_the_configuration_states_every_key_with_the_default_of_the_schema():
    entries = ("segmentations", "scores", "datasets", "models")
    for path, entry in leaves(SCHEMA):
        if path[0] in ("sources", "test_sets", "demo", *entries):
            continue
        value = STUDY
        for key in path:
            assert key in value, f"config.yaml has no {'.'.join(path)}"
            value = value[key]
        assert value == entry["default"], ".".join(path)
        assert entry["description"]
    checked, default = copy.deepcopy(STUDY), default_config(SCHEMA)
    check_config(checked, SCHEMA)
    for section in entries:
        assert checked[section] == default[section]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("segmentations.sam.points_per_side", "many", "must be an integer, got 'many'"),
        ("segmentations.sam.model", "vit_x", "model: must be one of 'demo', 'vit_b', 'vit_l', 'v"),
        ("segment", {}, "unknown key segment (segment is now segmentations.sam); write one of"),
        ("threads.leakage", 4, "unknown key leakage (leakage is now check_leakage); write one of"),
        ("index.min_images", 75.0, "min_images: must be an integer, got 75.0; write 75"),
        ("index.max_rejected", 5, "must be at most 1, got 5; write 0.05 for 5 %"),
        ("train.learning_rate", "1e-3", "must be a number, got '1e-3'; write 0.001"),
        ("allow_cpu", "true", "write true, or on the command line --config allow_cpu=True"),
        ("train.learning_rate", float("nan"), "learning_rate: nan is not a finite number"),
        ("train.plateau_factor", float("inf"), "plateau_factor: inf is not a finite number"),
        ("datasets", {True: {}}, "datasets: YAML reads a key as true, which is not text; write"),
        ("models.other", {"kind": "vgg"}, "models.other.kind: must be one of 'cnn', 'transfer'"),
        ("models.other", {"title": "?"}, "models.other.kind: must be one of 'cnn', 'transfer'"),
        ("models.other", {"kind": ["cnn"]}, "models.other.kind: must be one of 'cnn', 'transfer'"),
        ("segmentations.other", {"kind": {}}, "other.kind: must be one of 'sam', 'sam2', 'sem"),
        ("models.other", 3, "models.other: must be a mapping of keys, got 3"),
        ("models.clip", "null", "got 'null'; write null without quotes, in a file: --config reads"),
        ("models", {"a" * 101: {}}, "models: must have at most 100 characters, got 'aaa"),
        ("run", "a" * 101, "run: must have at most 100 characters, got 'aaa"),
        ("models.a\n", {"kind": "cnn"}, r"models: the key 'a\n' has a line break or another con"),
        ("sources.a\n", None, r"sources: the key 'a\n' has a line break or another control char"),
        ("run", "a\n", r"run: 'a\n' has a line break or another control character; write it with"),
        ("models.clip.path", "a\0b", r"models.clip.path: 'a\x00b' has a line break or another con"),
        ("models.clip.path", "", "clip.path: must not be empty, got ''"),
        ("sources.streetview.table", "", "streetview.table: must not be empty, got ''"),
        ("train.batch_size", "1e3", "must be an integer, got '1e3'; write 1000"),
        ("seeds", ["42"], "seeds.0: must be an integer, got '42'; write 42"),
        ("run", 2024, "run: must be text, got 2024; write it in quotes"),
        ("models.cnn.title", True, "must be text or null, got true; write it in quotes"),
        ("datasets", {datetime.date(2024, 1, 1): {}}, "YAML reads a key as 2024-01-01, which is n"),
        ("index.place_km", 1e-300, "place_km: must be at least 0.001, got 1e-300"),
        ("models.cnn.datasets", ["gone"], "datasets has no entry 'gone'; write one of its entries"),
        ("models.Cnn", {"kind": "cnn"}, "models: must match ^[a-z][a-z0-9_]*$, got 'Cnn'"),
        ("scores.objects.segmentation", "gone", "segmentations has no entry 'gone'; write one of"),
        ("datasets.weighted_base.scores", "gone", "scores has no entry 'gone'"),
        ("datasets.weighted_base.scores", None, "the curve linear needs score maps; write one of"),
        ("datasets.original.invert", True, "invert: has no effect with curve: none; write curve"),
        ("datasets.other", {"like": "gone"}, "datasets.other.like: must be an entry without like"),
        ("datasets.other", {"like": "other"}, "got 'other'; write one of original, weighted_base"),
        ("datasets.weighted_base.like", "weighted_custom", "is an entry of the study and has k"),
        ("datasets.original.view", "object", "scores: the view object needs scores; write one of"),
        ("datasets.weighted_base.view", "object", "curve: a crop is not dimmed; write curve: none"),
        ("datasets.other", {"view": "object", "scores": "objects", "invert": True},
         "other.invert: has no effect with view: object; write view: whole, or remove invert"),
        ("datasets.other", {"view": "object", "scores": "objects", "scores_of": "other_image"},
         "other.scores_of: has no effect with view: object; write view: whole, or remove"),
        ("models.other", {"kind": "cells", "fine_tune": "last_block"},
         "other.fine_tune: has no effect with network: cnn; write network: transfer, or remove"),
        ("datasets.default", {}, "datasets.default: this name is reserved"),
        ("datasets.other", {"title": "Original"}, "2 entries have the title 'Original'"),
        ("models.other", {"kind": "cnn", "title": "StreetCLIP"}, "2 entries have the title 'Str"),
        ("datasets.other", {"title": "original"}, "have the title 'Original' or 'original'; giv"),
        ("datasets.other", {"title": "Weighted  Base"}, "title 'Weighted Base' or 'Weighted  Base"),
        ("datasets.other", {"title": "ｏriginal"}, "title 'Original' or 'ｏriginal'; give each"),
        ("datasets.other", {"title": "default"}, "'Default' stands for models that are not train"),
        ("seeds", [1, 1], "seeds: must not name anything twice, got [1, 1]"),
        ("sources.geoguessr.kind", "folder", "must be one of 'country_folders', 'coordinates_t"),
        ("sources.geoguessr.pth", "x", "geoguessr: unknown key pth; write one of kind"),
        ("index.split", [0.5, 0.1, 0.1], "must add up to 1"),
        ("index.min_images", 9, "no validation images when its share is 0.1; write at least 10"),
        ("index.split", [0.01, 0.5, 0.49], "no training images when its share is 0.01; write at"),
        ("models.clip.prompt", "street " * 75 + "{country}", "has at least 78 tokens and CLIP"),
        ("models.clip.prompt", "a street", "prompt for a country; {country} stands"),
        ("models.clip.prompt", "{country} {city}", "a field other than {country}; write {country}"),
        ("models.clip.prompt", "{country} {country:d}", "{country:d}' has a field other than {c"),
        ("models.clip.prompt", "{country} {", "Single '{' encountered in format string); write"),
        ("models.clip.prompt", "{{country}}", "does not contain {country}; write {country}"),
        ("datasets.weighted_custom.lower_score", 70, "for a step at 70, write lower_score: 69"),
        ("datasets.weighted_custom.upper_score", 5, "must be below upper_score (5), got 10"),
        ("sources.geoguessr.size", None, "size: must be 640, the size of the masks, got null"),
        ("sources.geoguessr.size", 512, "size: must be 640, the size of the masks, got 512"),
        ("sources.streetview.first_image", -1, "first_image: must be at least 0, got -1"),
        ("sources.streetview.table", None, "streetview.table: must be text, got null"),
        ("models.transfer.backbone", "resnet51", "backbone: must be one of 'resnet50', 'efficie"),
        ("models.transfer.backbone", "ConvNeXtTiny", "ConvNeXtTiny scales its input itself; write"),
        ("models.other", {"kind": "transfer", "weights": "w.h5", "backbone": "VGG16",
                          "fine_tune": "last_block"}, "last block of VGG16 is not known; write"),
        ("models.other", {"kind": "cells", "minimum_images": 9, "maximum_images": 5},
         "minimum_images: must be at most maximum_images (5), got 9"),
        ("models.other", {"kind": "cells", "network": "transfer"}, "weights: the network transfer"),
        ("models.other", {"kind": "cells", "weights": "w.h5"}, "network cnn has none; write netw"),
        ("models.other", {"kind": "cells", "network": "transfer", "weights": "w.h5",
                          "backbone": "EfficientNetB0"}, "EfficientNetB0 scales its input itself"),
        ("models.other", {"kind": "python", "file": "own.txt"}, "file: must match \\.py$, got"),
        ("models.clip.path", "~/clip", "clip.path: ~ is not replaced, got ~/clip; write the whole"),
        ("models", dict.fromkeys(["cnn", "transfer", "clip"]), "models: every entry is null"),
        ("sources", dict.fromkeys(["geoguessr"]), "sources: every entry is null; a run needs one"),
        ("seed", 2**32, "seed: must be at most 4294967295"),
        ("seeds", [1, 2**32], "seeds.1: must be at most 4294967295"),
        ("segmentations.sam.pred_iou_thresh", 88, "thresh: must be at most 1, got 88; write 0.88"),
        ("segmentations.sam.box_nms_thresh", 70, "thresh: must be at most 1, got 70; write 0.7"),
        ("scores.objects.minimum", "10%", "minimum: must be a number, got '10%'; write 0.1"),
        ("train.learning_rate", "0,01", "must be a number, got '0,01'; write 0.01"),
        ("train.gpus", 3, "batch_size: must be a multiple of train.gpus (3), got 64; write 66"),
        ("train.minimum_learning_rate", 0.1, "must be at most learning_rate (0.001), got 0.1"),
        ("models.cnn.title", "CNN ", "models.cnn.title: 'CNN ' begins or ends with a space, or"),
        ("datasets.original.title", "a\nb", "datasets.original.title: 'a\\nb' begins or ends"),
        ("datasets.original.title", "Default", "'Default' stands for models that are not trained"),
        ("datasets.weighted_base.lower_score", 30,
         "lower_score: has no effect with curve: linear; write curve: piecewise, or remove lower"),
        ("datasets.original.no_score_factor", 0.5,
         "has no effect with curve: none; write curve: piecewise, or remove no_score_factor (its"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_what_to_write(path, value, message):
    config = copy.deepcopy(STUDY)
    *parents, key = path.split(".")
    entry = config
    for parent in parents:
        entry = entry[parent]
    entry[key] = value
    with pytest.raises(ConfigError) as error:
        check_config(config, SCHEMA)
    assert message in str(error.value)


def test_the_prompt_of_the_contrastive_model_is_checked_too():
    config = copy.deepcopy(STUDY)
    config["models"]["contrastive"] = {"kind": "contrastive", "prompt": "{country} {}"}
    with pytest.raises(ConfigError, match="models.contrastive.prompt: .* a field other"):
        check_config(config, SCHEMA)


def test_a_text_may_be_as_long_as_clip_reads_and_a_split_as_uneven_as_the_smallest_country():
    config = copy.deepcopy(STUDY)
    config["models"]["clip"]["prompt"] = "street " * 74 + "{country}"
    config["index"] |= {"min_images": 10, "split": [0.8, 0.1, 0.1]}
    check_config(config, SCHEMA)


def test_a_prompt_may_repeat_the_country_and_hold_braces():
    config = copy.deepcopy(STUDY)
    config["models"]["clip"]["prompt"] = "{country}, {{a street}} in {country}"
    check_config(config, SCHEMA)


@pytest.mark.parametrize(
    ("clip", "title"),
    [
        ({}, "StreetCLIP"),
        ({"path": None}, "CLIP (trained here)"),
        ({"path": "models/clip-vit-large"}, "clip-vit-large"),
        ({"path": None, "title": "Small CLIP"}, "Small CLIP"),
        ({"title": "Another CLIP"}, "Another CLIP"),
    ],
)
def test_only_a_given_clip_is_called_as_the_published_one(clip, title):
    config = copy.deepcopy(STUDY)
    config["models"]["clip"] |= clip
    check_config(config, SCHEMA)
    assert config["models"]["clip"]["title"] == title


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {epochs: 1}\nrun: a\ntrain: {batch_size: 2}\n",
            "line 3: train is given twice (before in line 1); keep one, with the keys of both",
        ),
        ("train:\n  epochs: 1\n  epochs: 2\n", "line 3: train.epochs is given twice"),
        ("seed: 042\n", "line 1: YAML reads 042 as 34; write the number without leading zeros"),
        ("a: 1\nb: [1:30]\n", "line 2: YAML reads 1:30 as 90; write the number without"),
        ("- a\n", "has no keys"),
        (
            "a: &x\n  b: *x\n",
            "my.yaml: an alias (*) stands inside its own anchor (&); write the ke",
        ),
        ("a: [1\n", "is not YAML"),
    ],
)
def test_keys_given_twice_and_other_files_are_refused_with_their_line(tmp_path, text, message):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        check_keys_once([path])
    assert str(path) in str(error.value)


def test_a_key_of_two_entries_is_no_repetition_and_quoted_and_usual_numbers_are_read(tmp_path):
    text = "a: {b: 1}\nc: {b: 1}\nd: [{b: 1}, {b: 1}]\ne: ['042', 0, 0.05, 1_000, -3, 1e-3, 10:x]\n"
    (tmp_path / "my.yaml").write_text(text)
    check_keys_once([tmp_path / "my.yaml", ROOT / "config/config.yaml"])


def test_an_entry_of_the_study_needs_only_the_keys_that_differ():
    """As in a workflow that uses this one as a module, without config/config.yaml."""
    config = {
        "sources": copy.deepcopy(STUDY["sources"]),
        "segmentations": {"sam": {"model": "demo", "classifier": {"kind": "efficientnet_lite0"}}},
        "datasets": {"weighted_custom": {"lower_score": 20}},
        "models": {"clip": {"path": None}},
    }
    check_config(config, SCHEMA)
    sam, study = config["segmentations"]["sam"], STUDY["segmentations"]["sam"]
    assert (sam["kind"], sam["weights"]) == ("sam", study["weights"])
    assert sam["classifier"] == {"kind": "efficientnet_lite0", "weights": None}
    assert config["datasets"]["weighted_custom"]["curve"] == "piecewise"
    assert list(config["models"]) == ["clip"]
    assert list(config["scores"]) == ["objects"]


def test_entries_of_the_study_come_first_whatever_the_order_of_the_files():
    config = copy.deepcopy(STUDY)
    config["datasets"] = {"own": {"title": "Own"}, **dict(reversed(config["datasets"].items()))}
    photos = config["test_sets"]["im2gps3k"]
    config["test_sets"] = {"mine": photos | {"title": "Mine"}, "im2gps3k": photos}
    config["sources"] = dict(reversed(config["sources"].items()))
    check_config(config, SCHEMA)
    order_entries(config, STUDY, SCHEMA)
    assert list(config["datasets"]) == ["original", "weighted_base", "weighted_custom", "own"]
    assert list(config["test_sets"]) == ["im2gps3k", "mine"]
    assert list(config["sources"]) == ["streetview", "geoguessr"]


def test_keys_have_one_order_whatever_files_they_are_from():
    """Otherwise a key that moves to another file would repeat the jobs that get its entry."""

    def turned(value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {key: turned(inner) for key, inner in reversed(value.items())}

    config = copy.deepcopy(STUDY)
    config["models"]["own"] = {"kind": "cells", "title": "Own"}
    config["models"]["more"] = {"kind": "python", "file": "a.py", "options": {"b": 1, "a": 2}}
    check_config(config, SCHEMA)
    order_entries(config, STUDY, SCHEMA)
    assert list(config["segmentations"]["sam"])[:3] == ["kind", "model", "weights"]
    assert list(config["models"]["more"]["options"]) == ["b", "a"]
    other = turned(config)
    other["models"] = dict(reversed(other["models"].items()))
    other["sources"] = dict(reversed(other["sources"].items()))
    del other["models"]["more"]["options"], config["models"]["more"]["options"]
    assert repr(other) != repr(config)
    order_entries(other, STUDY, SCHEMA)
    assert repr(other) == repr(config)


def test_an_entry_that_is_like_another_one_has_its_keys_and_its_own():
    config = copy.deepcopy(STUDY)
    config["models"]["other"] = {"like": "transfer", "title": "T", "preprocessing": "imagenet"}
    check_config(config, SCHEMA)
    expected = config["models"]["transfer"] | {"title": "T", "preprocessing": "imagenet"}
    assert config["models"]["other"] == expected
    assert config["models"]["transfer"]["preprocessing"] == "rescale"


def test_an_entry_of_the_matrix_set_to_null_is_removed():
    config = copy.deepcopy(STUDY)
    config["datasets"]["weighted_base"] = config["models"]["clip"] = None
    check_config(config, SCHEMA)
    assert list(config["datasets"]) == ["original", "weighted_custom"]
    assert list(config["models"]) == ["cnn", "transfer"]


def test_a_source_set_to_null_is_left_out():
    config = copy.deepcopy(STUDY)
    config["sources"]["geoguessr"] = None
    check_config(config, SCHEMA)


def test_two_more_test_sets_are_a_configuration_file():
    config = copy.deepcopy(STUDY)
    more = yaml.safe_load((ROOT / "config/test_sets.yaml").read_text(encoding="utf-8"))
    config["test_sets"] |= more["test_sets"]
    check_config(config, SCHEMA)
    assert [s.name for s in configured_sources(config) if s.collection != "street"] == [
        "im2gps3k",
        "im2gps",
        "yfcc25600",
    ]


@pytest.mark.parametrize(
    ("name", "title", "message"),
    [
        ("street", None, "test_sets.street: this name is already in use"),
        ("original", None, "this name is already in use"),
        ("weighted_base", None, "this name is already in use"),
        ("weighted_custom", None, "this name is already in use"),
        ("geoguessr", None, "this name is already in use"),
        ("other", "Im2GPS-3k-modified", "2 columns of Table 1 are named 'Im2GPS-3k-modified A"),
        ("other", "im2gps-3k-modified", "2 columns of Table 1 are named 'Im2GPS-3k-modified A"),
        ("other", "Original Test", "2 columns of Table 1 are named 'Original Test Accuracy'"),
    ],
)
def test_a_test_set_has_a_name_and_a_title_of_its_own(name, title, message):
    config = copy.deepcopy(STUDY)
    config["test_sets"][name] = config["test_sets"]["im2gps3k"] | {"title": title}
    with pytest.raises(ConfigError, match=message):
        check_config(config, SCHEMA)


def test_a_source_that_is_not_trained_on_may_be_a_test_set():
    config = copy.deepcopy(STUDY)
    config["test_sets"]["streetview"] = config["sources"]["streetview"]
    config["sources"]["streetview"] = None
    check_config(config, SCHEMA)
    collections = {s.name: s.collection for s in configured_sources(config)}
    assert collections["streetview"] == "streetview"


def test_a_source_without_a_size_is_found_before_the_long_stage():
    config = copy.deepcopy(STUDY)
    config["sources"]["mine"] = {"kind": "country_folders", "path": "world"}
    with pytest.raises(ConfigError, match="mine.size: must be 640.* got null; write size: 640"):
        check_config(config, SCHEMA)


def test_a_written_configuration_is_read_whole_or_refused(tmp_path):
    config = copy.deepcopy(STUDY)
    check_config(config, SCHEMA)
    write_config(tmp_path / "c.yaml", config)
    assert read_written_config(tmp_path / "c.yaml", SCHEMA) == config
    lines = (tmp_path / "c.yaml").read_text().splitlines(keepends=True)
    (tmp_path / "c.yaml").write_text("".join(lines[:-1]))
    with pytest.raises(ConfigError, match="end of the file is missing"):
        read_written_config(tmp_path / "c.yaml", SCHEMA)


def test_python_files_of_a_module_are_below_its_prefix(tmp_path):
    config = copy.deepcopy(STUDY)
    own = {"path": "photos", "kind": "python", "file": "source.py", "size": 640}
    config["sources"]["own"] = own
    config["test_sets"]["far"] = own | {"path": "far", "size": None}
    config["segmentations"]["own"] = {"kind": "python", "file": "s.py", "classes": "c.txt"}
    config["datasets"]["own"] = {"curve": "python", "scores": "objects", "file": "curve.py"}
    config["models"]["own"] = {"kind": "keras", "file": "net.py"}
    check_config(config, SCHEMA)
    placed = place_paths(config, tmp_path, lambda path: f"near/{path}")
    entries = [placed["sources"]["own"], placed["test_sets"]["far"]]
    entries += [placed[section]["own"] for section in ("segmentations", "datasets", "models")]
    files = [entry["file"] for entry in entries]
    expected = ["source.py", "source.py", "s.py", "curve.py", "net.py"]
    assert files == [f"near/{name}" for name in expected]
    assert placed["segmentations"]["own"]["classes"] == "near/c.txt"


@pytest.mark.parametrize(
    ("section", "entry", "message"),
    [
        ("datasets", {"curve": "python", "scores": "objects"}, "own.file: the curve python needs"),
        (
            "datasets",
            {"curve": "linear", "scores": "objects", "file": "a.py"},
            "own.file: has no effect with curve: linear; write curve: python, or remove file",
        ),
        ("datasets", {"options": {"a": 1}}, "own.options: has no effect with curve: none"),
        ("datasets", {"curve": "python", "scores": "objects", "file": "a.txt"}, "own.file: must"),
        ("sources", {"kind": "python", "path": "p", "size": 640}, "own.file: must be text"),
        ("models", {"kind": "keras"}, r"models.own: missing file \(the Python file; .*; write it"),
        ("segmentations", {"kind": "python", "file": "a.py"}, "own: missing classes .text file"),
    ],
)
def test_entries_of_python_files_say_what_they_lack(section, entry, message):
    config = copy.deepcopy(STUDY)
    config[section]["own"] = entry
    with pytest.raises(ConfigError, match=message):
        check_config(config, SCHEMA)


def test_braces_are_refused_only_where_no_link_can_stand_in():
    config = copy.deepcopy(STUDY)
    config["sources"]["geoguessr"]["path"] = "my {old} photos"
    config["models"]["clip"]["path"] = "<clip>"
    check_config(config, SCHEMA)
    config |= {"demo": {}, "containers": {"torch": "my {new}.sif"}}
    with pytest.raises(ConfigError) as error:
        check_config(config, SCHEMA)
    told = str(error.value).splitlines()[1:]
    remedy = "for a wildcard; rename it"
    assert told == [
        f"  containers.torch: Snakemake takes {{new}} in my {{new}}.sif {remedy}",
        f"  sources.geoguessr.path: Snakemake takes {{old}} in my {{old}} photos {remedy}",
    ]


def test_a_link_stands_in_for_a_path_and_is_older_than_it(tmp_path):
    path = tmp_path / "a{b}<c>.py"
    link = tmp_path / "links" / link_name(path)
    assert replaced_part(path) == "{b}"
    assert not replaced_part(link)
    assert link.suffix == ".py"
    assert link_name(path.with_name("a_b__c_.py")) != link.name
    for content in ("one", "two"):
        path.write_text(content)
        set_link(link, path)
        assert link.read_text() == content
    assert link.lstat().st_mtime == 0
    set_link(link, tmp_path)
    assert link.samefile(tmp_path)
    assert [file.name for file in link.parent.iterdir()] == [link.name]


def test_paths_that_do_not_exist_and_that_no_rule_makes_are_named_with_their_key(tmp_path):
    (tmp_path / "here").touch()
    entries = [
        ("models.clip", {"path": "no/clip", "file": str(tmp_path / "here")}),
        ("scores.x", {"classes": "made", "classifier": {"weights": "no/w"}}),
    ]
    assert list(missing_paths(entries, lambda path: path == "made")) == [
        "models.clip.path: no/clip does not exist; put it there or correct the key",
        "scores.x.classifier.weights: no/w does not exist; put it there or correct the key",
    ]


def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder_are_named(tmp_path):
    (tmp_path / "file").touch()
    folder, file = str(tmp_path), str(tmp_path / "file")
    right = [("models.a", {"path": folder, "weights": file, "classifier": {"weights": file}})]
    assert list(file_mistakes([*right, ("models.b", {"path": "no", "weights": None})])) == []
    wrong = [("models.a", {"path": file, "weights": folder, "classifier": {"weights": folder}})]
    assert sorted(file_mistakes(wrong)) == [
        f"models.a.classifier.weights: {folder} is a folder; write the path of a file",
        f"models.a.path: {file} is a file; write the path of a folder",
        f"models.a.weights: {folder} is a folder; write the path of a file",
    ]


def test_a_tag_that_no_configuration_has_is_refused_with_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "my.yaml").write_text("run: !!python/name:os.system\n")
    with pytest.raises(ConfigError, match=r"my\.yaml is not YAML: could not determine a constr"):
        read_config([tmp_path / "my.yaml"])


def test_own_files_of_the_project_are_used_where_the_module_has_none(tmp_path):
    config = copy.deepcopy(STUDY)
    for name in ("demo/classes.txt", "config/classes.txt", "mine/classes.txt"):
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True)
        file.touch()
        config["scores"][name] = config["scores"]["objects"] | {"classes": name}
    placed = place_paths(config, tmp_path / "project", lambda path: str(tmp_path / path))
    found = {name: placed["scores"][name]["classes"] for name in placed["scores"]}
    for name in ("demo/classes.txt", "config/classes.txt"):
        assert found[name] == str(tmp_path / "project" / name)
    assert found["mine/classes.txt"] == str(tmp_path / "mine/classes.txt")


def test_models_of_places_have_their_published_title():
    config = {"models": {"places": {"kind": "geoclip", "title": None}}}
    set_titles(config)
    assert config["models"]["places"]["title"] == "GeoCLIP"


def test_a_model_without_any_dataset_to_train_on_is_told():
    config = copy.deepcopy(STUDY)
    for entry in config["datasets"].values():
        entry["train"] = False
    with pytest.raises(ConfigError, match=r"models\.cnn\.datasets: no dataset has train: true"):
        check_config(config, SCHEMA)
