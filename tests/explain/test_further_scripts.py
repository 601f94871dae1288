"""What the scripts of a CLIP's explanations, of their tables and of their figure do with inputs and
parameters."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from geoloc.countries.names import display_name
from geoloc.explain.changes import Pictures
from geoloc.explain.methods import Settings
from geoloc.explain.tables import (
    MEASURED,
    cause,
    faithfulness,
    influence,
    read_row_tables,
)
from geoloc.segmentation.vocabularies import vocabulary
from geoloc.stores import Arrays, Explanation, write_explanations
from geoloc.weighting import make_view
from tests.colored_world import CLASSES, scores_of, write_stores
from tests.explain.test_script import COUNTRIES, EXPLAIN, TABLES, VIEW
from tests.explain.test_tables_and_figure import changes, image_rows
from tests.script_runs import recorded, run_script

ROWS = [["cnn", "original", "8"], ["cnn", "weighted_base", "8"]]
VIEWS = {"original": {"curve": "none"}, "weighted_base": VIEW}


def test_explain_clip_is_given_everything_that_is_configured(tmp_path, monkeypatch):
    (tmp_path / "countries.csv").write_text(COUNTRIES)
    street, scores, segments = ([str(path)] for path in write_stores(tmp_path)[:3])
    for name in ("index", "predictions"):
        pd.DataFrame({"name": [name]}).to_parquet(tmp_path / f"{name}.parquet")
    ids, labels = np.array(["s/0", "s/1", "s/2"]), np.array(["DE", "FR", "NA"])
    pictures = Pictures(["s/0", "s/2"], np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4)), np.zeros(2))
    tables = {name: pd.DataFrame({name: [1]}) for name in TABLES}
    found = SimpleNamespace(explanations=["maps"], **tables)
    recorders = {
        "threads": ("geoloc.pytorch.device.use_threads", None),
        "device": ("geoloc.pytorch.device.check_device", None),
        "row": ("geoloc.model_record.check_row", None),
        "checked": ("geoloc.image_text.zero_shot.check_classes", None),
        "clip": ("geoloc.image_text.zero_shot.ClipZeroShot", dict),
        "listed": ("geoloc.explain.full_size.listed_test_images", lambda call: (ids, labels)),
        "sampled": ("geoloc.explain.sample.sample_rows", lambda call: np.array([0, 2])),
        "read": ("geoloc.explain.full_size.read_pictures", lambda call: pictures),
        "selected": ("geoloc.segmentation.scoring.read_selected", lambda call: "selected"),
        "maps": ("geoloc.explain.objects.class_maps", lambda call: "class maps"),
        "explained": ("geoloc.explain.row.explain_row", lambda call: found),
        "written": ("geoloc.stores.write_explanations", None),
    }
    calls = {name: recorded(monkeypatch, *each) for name, each in recorders.items()}
    monkeypatch.setattr(
        "geoloc.explain.clip_probe.ClipProbe",
        lambda model: SimpleNamespace(model=model, seen="seen", side=32),
    )
    run_script(
        "explain_clip",
        input={"model": "clip", "random_labels": "misled", "countries": tmp_path / "countries.csv",
               "street": street, "scores": scores, "index": tmp_path / "index.parquet",
               "predictions": tmp_path / "predictions.parquet", "segments": segments,
               "selected": "classes.txt"},
        output={"maps": tmp_path / "maps.h5"} | {n: tmp_path / f"{n}.csv" for n in TABLES},
        params={"index_folder": "the index", "seed": 5, "view": VIEW, "ambiguous_classes": "all",
                "vocabulary": "imagenet", "minimum": 0.3, "explain": EXPLAIN, "allow_cpu": False,
                "prompt": "in {country}", "test_set": "weighted_base"},
        wildcards={"model": "clip", "dataset": "default", "seed": "8"},
        threads=3,
    )  # fmt: skip
    row = {"folder": "clip", "row": ("clip", "default", "8"), "settings": VIEW}
    assert calls["row"] == [row]
    assert [list(call.values()) for call in calls["threads"]] == [[3]]
    assert [list(call.values()) for call in calls["device"]] == [[False]]
    assert [list(call.values()) for call in calls["checked"]] == [["clip", CLASSES]]
    names = [display_name(code) for code in CLASSES]
    assert calls["clip"] == [
        {"model": model, "names": names, "template": "in {country}"} for model in ("clip", "misled")
    ]
    ((images, index, folder),) = [call.values() for call in calls["listed"]]
    assert (images, index["name"].tolist(), folder) == (street, ["index"], "the index")
    ((*of, predictions, test_set, count, seed),) = [call.values() for call in calls["sampled"]]
    assert [each.tolist() for each in of] == [ids.tolist(), labels.tolist()]
    assert predictions["name"].tolist() == ["predictions"]
    assert (test_set, count, seed) == ("weighted_base", EXPLAIN["images"], 5)
    assert calls["read"] == [{
        "seen": "seen", "labels": {"s/0": "DE", "s/2": "NA"}, "classes": CLASSES,
        "images": street, "scores": scores, "view": make_view(VIEW),
        "index_folder": "the index", "seed": 5,
    }]  # fmt: skip
    assert [list(call.values()) for call in calls["selected"]] == [
        ["classes.txt", "all", "imagenet"]
    ]
    assert [list(call.values()) for call in calls["maps"]] == [
        [segments, {"s/0", "s/2"}, "selected", 0.3, "the index", 32]
    ]
    (explained,) = calls["explained"]
    assert [explained.pop(name).model["model"] for name in ("probe", "misled")] == [
        "clip",
        "misled",
    ]
    assert explained.pop("pictures") is pictures
    assert explained == {
        "classes": CLASSES,
        "class_maps": "class maps",
        "names": vocabulary("imagenet"),
        "settings": Settings(**EXPLAIN),
        "seed": 5,
    }
    assert [list(call.values()) for call in calls["written"]] == [
        [str(tmp_path / "maps.h5"), ["maps"], EXPLAIN]
    ]
    for name in TABLES:
        text = f"{name},row\n1,clip/default/8\n"
        assert (tmp_path / f"{name}.csv").read_text() == text


def checks(answers: list[str], ids: list[str]) -> pd.DataFrame:
    """The checks of a row on images of Namibia."""
    return pd.DataFrame({
        "image_id": ids, "label": "NA", "method": "grad_cam", "answer": answers,
        "probability": np.linspace(0.5, 0.9, len(ids)), "area": 0.25,
        **dict.fromkeys(MEASURED, 0.25),
    })  # fmt: skip


def test_the_tables_are_of_all_rows_and_of_the_seed(tmp_path):
    parts = {
        "influence": [pd.DataFrame(image_rows(n, "NA", 0.4, 0.1)) for n in (6, 7)],
        "changes": [changes(0.2), changes(0.1)],
        "checks": [checks(["NA", "FR"], ["a", "b"]), checks(["NA", "NA"], ["a", "b"])],
    }
    paths = {kind: [tmp_path / f"{kind}{n}.csv" for n in range(2)] for kind in parts}
    for kind, tables in parts.items():
        for path, table in zip(paths[kind], tables, strict=True):
            table.to_csv(path, index=False)
    outputs = {name: tmp_path / f"{name}.csv" for name in ("influence", "cause", "faithfulness")}
    run_script("explanations", input=paths, output=outputs, params={"rows": ROWS, "seed": 3})
    read = {kind: read_row_tables(ROWS, found) for kind, found in paths.items()}
    expected = {
        "influence": influence(read["influence"], 3),
        "cause": cause(read["changes"], 3),
        "faithfulness": faithfulness(read["checks"]),
    }
    for name, table in expected.items():
        assert outputs[name].read_text() == table.to_csv(index=False)


@pytest.fixture
def examples(tmp_path, monkeypatch) -> SimpleNamespace:
    """What the figure of two rows shows: their explained images, of which two each are chosen."""
    stores = write_stores(tmp_path)
    ids = Arrays(stores, "test").image_id.tolist()
    answers = ["NA", "FR", "FR"]
    maps = {"grad_cam": np.full((224, 224), 1 / 224**2, np.float32)}
    for row in ROWS:
        checks(answers, ids[:3]).to_csv(tmp_path / f"{row[1]}.csv", index=False)
        write_explanations(
            tmp_path / f"{row[1]}.h5",
            [Explanation(i, "NA", a, maps) for i, a in zip(ids[:3], answers, strict=True)],
        )
    (tmp_path / "faithfulness.csv").write_text(
        "model,dataset,seed,method,shown\ncnn,original,8,grad_cam,False\n"
        "cnn,original,8,integrated_gradients,True\ncnn,weighted_base,8,grad_cam,True\n"
        "cnn,weighted_base,9,integrated_gradients,True\n"
    )
    drawn = recorded(monkeypatch, "geoloc.explain.figure.explanation_figure", lambda call: "figure")
    saved = recorded(monkeypatch, "geoloc.evaluation.figures.save")
    compared: list = []
    monkeypatch.setattr(
        "geoloc.stores.arrays.check_manifest", lambda store, index: compared.append(index)
    )
    run_script(
        "explanation_examples",
        input={"street": stores, "scores": [scores_of(path) for path in stores],
               "maps": [tmp_path / f"{row[1]}.h5" for row in ROWS],
               "checks": [tmp_path / f"{row[1]}.csv" for row in ROWS],
               "faithfulness": tmp_path / "faithfulness.csv"},
        output={"figure": tmp_path / "figure.png"},
        params={"index_folder": "the index", "seed": 5, "rows": ROWS, "views": VIEWS,
                "scores": ["objects", "objects"], "title": "CNN",
                "dataset_titles": {"original": "Original", "weighted_base": "Weighted"}},
    )  # fmt: skip
    assert [list(call.values()) for call in saved] == [["figure", str(tmp_path / "figure.png")]]
    assert set(compared) == {"the index"}
    (call,) = drawn
    assert call["title"] == "CNN"
    return SimpleNamespace(found=call["examples"], stores=stores, ids=ids)


def test_examples_are_images_as_each_row_sees_them_with_their_score_maps(examples):
    stores = examples.stores
    arrays = Arrays(stores, "test", scores=[scores_of(path) for path in stores])
    titles = [each.dataset for each in examples.found]
    assert titles == ["Original"] * 2 + ["Weighted"] * 2
    for each, dataset in zip(examples.found, ["original"] * 2 + ["weighted_base"] * 2, strict=True):
        (row,) = np.flatnonzero(arrays.image_id == each.explanation.image_id)
        image, score = arrays.read(np.array([row]))
        np.testing.assert_array_equal(each.image, make_view(VIEWS[dataset])(image, score)[0])
        np.testing.assert_array_equal(each.score, score[0])
        assert each.probability == pytest.approx(
            (0.5, 0.7, 0.9)[examples.ids.index(each.explanation.image_id)]
        )


def test_examples_know_which_methods_passed_the_checks_of_their_own_row(examples):
    shown = [each.shown for each in examples.found]
    assert shown == [{"integrated_gradients"}] * 2 + [{"grad_cam"}] * 2
    for pair in (examples.found[:2], examples.found[2:]):
        answers = {each.explanation.predicted for each in pair}
        assert answers == {"NA", "FR"}  # a right and a wrong one, which is that of `choose`
