"""What scripts/explain.py does with each of its inputs and parameters."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from geoloc.explain.methods import Settings
from geoloc.segmentation.vocabularies import vocabulary
from geoloc.stores import Arrays
from geoloc.weighting import make_view
from tests.colored_world import CLASSES, scores_of, write_stores
from tests.script_runs import recorded, run_script

VIEW = {"scores": "objects", "curve": "linear"}
EXPLAIN = {"images": 4, "steps": 3, "baseline": "mean", "fills": ["blur"], "checked_images": 2,
           "points": 5, "random_labels": True}  # fmt: skip
COUNTRIES = "country,name,images,train,val,test,kept\n" + "".join(
    f"{code},x,9,7,1,1,True\n" for code in CLASSES
)
TABLES = ("influence", "changes", "checks")


@pytest.fixture
def calls(tmp_path, monkeypatch) -> SimpleNamespace:
    """Calls of everything that takes long, while the script runs on 7 test images."""
    paths = write_stores(tmp_path)
    (tmp_path / "countries.csv").write_text(COUNTRIES)
    seen = Arrays(paths, "test")
    pd.concat(
        pd.DataFrame({"image_id": seen.image_id, "test_set": name, "country_1": seen.label})
        for name in ("original", "weighted_base")
    ).to_parquet(tmp_path / "predictions.parquet")
    tables = {name: pd.DataFrame({name: [1]}) for name in TABLES}
    found = SimpleNamespace(explanations=["maps"], **tables)
    loaded = recorded(
        monkeypatch,
        "geoloc.keras_models.predict.load_trained",
        lambda call: SimpleNamespace(model=str(call["folder"]), classes=CLASSES),
    )
    monkeypatch.setattr("geoloc.explain.keras_probe.KerasProbe", lambda *each: each)
    compared: list = []
    monkeypatch.setattr(
        "geoloc.stores.arrays.check_manifest", lambda store, index: compared.append(index)
    )
    recorders = {
        # TensorFlow may run already, with other threads.
        "row": ("geoloc.model_record.check_row", None),
        "setup": ("geoloc.keras_models.runtime.setup", None),
        "selected": ("geoloc.segmentation.scoring.read_selected", lambda call: "selected"),
        "maps": ("geoloc.explain.objects.class_maps", lambda call: "class maps"),
        "explained": ("geoloc.explain.row.explain_row", lambda call: found),
        "written": ("geoloc.stores.write_explanations", None),
    }
    calls = {name: recorded(monkeypatch, *each) for name, each in recorders.items()}
    run_script(
        "explain",
        input={"model": tmp_path / "m/model.keras", "countries": tmp_path / "countries.csv",
               "street": paths, "scores": [scores_of(path) for path in paths],
               "predictions": tmp_path / "predictions.parquet", "segments": paths[:1],
               "selected": "classes.txt", "random_labels": tmp_path / "r/model.keras"},
        output={"maps": tmp_path / "maps.h5"} | {n: tmp_path / f"{n}.csv" for n in TABLES},
        params={"index_folder": "the index", "seed": 5, "view": VIEW, "ambiguous_classes": "all",
                "vocabulary": "imagenet", "minimum": 0.3, "explain": EXPLAIN},
        wildcards={"model": "cnn", "dataset": "weighted_base", "seed": "8"},
    )  # fmt: skip
    return SimpleNamespace(folder=tmp_path, paths=paths, loaded=loaded, compared=compared, **calls)


def test_explain_is_given_everything_that_is_configured(calls):
    (explained,) = calls.explained
    pictures = explained.pop("pictures")
    folder = calls.folder
    assert explained == {
        "probe": (str(folder / "m"), None), "misled": (str(folder / "r"), None),
        "classes": CLASSES, "class_maps": "class maps", "names": vocabulary("imagenet"),
        "settings": Settings(**EXPLAIN), "seed": 5,
    }  # fmt: skip
    row = {"folder": folder / "m", "row": ("cnn", "weighted_base", "8"), "settings": VIEW}
    assert calls.row == [row]
    assert calls.setup == [{"seed": 5, "threads": 1}]
    assert [call["folder"] for call in calls.loaded] == [folder / "m", folder / "r"]
    (selected,) = calls.selected
    assert list(selected.values()) == ["classes.txt", "all", "imagenet"]
    (maps,) = calls.maps
    assert maps == {
        "paths": [str(calls.paths[0])],
        "image_ids": set(pictures.image_id),
        "selected": "selected",
        "minimum": 0.3,
        "index": "the index",
    }
    assert set(calls.compared) == {"the index"}
    (written,) = calls.written
    assert list(written.values()) == [str(folder / "maps.h5"), ["maps"], EXPLAIN]
    for name in TABLES:
        row = "cnn/weighted_base/8"
        assert (folder / f"{name}.csv").read_text() == f"{name},row\n1,{row}\n"


def test_pictures_are_test_images_as_the_dataset_shows_them(calls):
    pictures = calls.explained[0]["pictures"]
    arrays = Arrays(calls.paths, "test", scores=[scores_of(path) for path in calls.paths])
    rows = np.flatnonzero(np.isin(arrays.image_id, pictures.image_id))
    assert len(pictures) == EXPLAIN["images"] == len(rows)
    image, score = arrays.read(rows)
    np.testing.assert_array_equal(pictures.image, make_view(VIEW)(image, score))
    np.testing.assert_array_equal(pictures.scored, score > 0)
    assert [CLASSES[label] for label in pictures.label] == arrays.label[rows].tolist()
