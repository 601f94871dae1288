"""What the scripts of results do with each of their inputs and parameters: tables and figures."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geoloc.config import default_config, load_schema
from geoloc.errors import InputError
from geoloc.evaluation.study import study_titles
from geoloc.evaluation.table1 import published
from geoloc.stores import write_images, write_scores, write_segments
from geoloc.types import SCORE_SIZE
from tests.conftest import ROOT
from tests.script_runs import recorded, run_script
from tests.small_stores import segments_of

CLASSES = ["DE", "FR", "NA"]
DATASETS = ("original", "weighted_base", "weighted_custom")
ROWS = [["clip", "default", "any"], ["cnn", "original", "1"], ["cnn", "weighted_base", "1"]]
PARAMS = {"rows": ROWS, "datasets": [list(DATASETS)] * len(ROWS)}
DATASET_TITLES = {"original": "Original", "weighted_base": "Weighted Base", "default": "Default"}
COLUMNS = {
    "original": "Original Test Accuracy",
    "weighted_base": "Weighted Base Test Accuracy",
    "weighted_custom": "Weighted Custom Test Accuracy",
    "gone": "Gone Accuracy",
    "far": "Far Away Accuracy",
}
TITLES = {"cnn": "Convolutional Neural Network", "clip": "My CLIP"}
# Most images are of France; most training images of Germany; Japan is not kept.
COUNTRIES = (
    "country,name,images,train,val,test,kept\n"
    "FR,France,90,5,3,50,True\nDE,Germany,20,8,1,11,True\nJP,Japan,90,80,5,5,False\n"
    "NA,Namibia,9,5,2,2,True\n"
)
LABELS = ["FR"] * 4 + ["DE"] * 2 + ["NA"] * 2
PLACES = {"FR": (48.0, 2.0), "DE": (52.0, 13.0), "NA": (-22.0, 17.0)}


def table(right: set[int]) -> pd.DataFrame:
    """Predictions of eight images in each test set; those in `right` are."""
    rows = []
    for test_set in (*DATASETS, "far"):
        for number, label in enumerate(LABELS):
            others = [code for code in CLASSES if code != label]
            order = [label, *others] if number in right else [*others, label]
            probability = [0.5, 0.3, 0.2]
            rows.append(
                {"image_id": f"{'far' if test_set == 'far' else 's'}/{number}",
                 "test_set": test_set, "source": "far" if test_set == "far" else "s",
                 "label": label, "latitude": PLACES[label][0], "longitude": PLACES[label][1]}
                | {f"country_{r}": order[r - 1] if r <= 3 else None for r in range(1, 6)}
                | {f"probability_{r}": probability[r - 1] if r <= 3 else np.nan
                   for r in range(1, 6)}
                | {"label_probability": probability[order.index(label)]}
                | dict.fromkeys(("predicted_latitude", "predicted_longitude"), np.nan)
            )  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.astype({c: "float32" for c in frame if "probability" in c})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    (folder / "countries.csv").write_text(COUNTRIES)
    for number, right in enumerate([{0, 1, 2, 3, 4, 5}, {0, 4}, {0, 1, 6}]):
        table(right).to_parquet(folder / f"{number}.parquet")
    rows = []
    for collection in ("street", "far"):
        for number, label in enumerate(LABELS):
            source = "far" if collection == "far" else "s"
            rows.append({"image_id": f"{source}/{number}", "source": source, "split": "test",
                         "collection": collection, "country": label, "shard": "0000", "path": "x",
                         "author": f"a{number % 3}" if collection == "far" else "",
                         "latitude": PLACES[label][0], "longitude": PLACES[label][1]})  # fmt: skip
    for code, (latitude, longitude) in PLACES.items():
        rows.append(rows[0] | {"image_id": f"t/{code}", "split": "train", "country": code,
                               "latitude": latitude, "longitude": longitude})  # fmt: skip
    pd.DataFrame(rows).to_parquet(folder / "index.parquet")
    return folder


def inputs(folder: Path) -> dict:
    return {
        "predictions": [folder / f"{number}.parquet" for number in range(3)],
        "countries": folder / "countries.csv",
        "index": folder / "index.parquet",
    }


def test_table1_has_published_order_configured_titles_and_the_training_majority(folder):
    run_script(
        "table1",
        input=inputs(folder),
        output={"table": folder / "t.csv", "seeds": folder / "s.csv", "text": folder / "t.txt"},
        params=PARAMS
        | {"model_titles": TITLES, "dataset_titles": DATASET_TITLES, "columns": COLUMNS},
    )
    found = pd.read_csv(folder / "t.csv", dtype=str).fillna("")
    assert found.to_numpy().tolist() == [
        ["Convolutional Neural Network", "Original", "25.00", "25.00", "25.00", "", "25.00"],
        ["Convolutional Neural Network", "Weighted Base", "37.50", "37.50", "37.50", "", "37.50"],
        ["My CLIP", "Default", "75.00", "75.00", "75.00", "", "75.00"],
    ]
    assert found.columns[-1] == "Far Away Accuracy"
    seeds = pd.read_csv(folder / "s.csv", dtype=str).fillna("")
    assert seeds.Seed.tolist() == ["1", "1", "any"]
    assert seeds.drop(columns="Seed").equals(found)
    last = (folder / "t.txt").read_text().splitlines()[-1]
    assert last.split() == ["Majority", "baseline", "always", "Germany", *["25.00"] * 4]


def test_metrics_are_of_all_rows_with_the_majority_authors_and_places_of_the_index(
    folder, monkeypatch
):
    def make(seed: int) -> dict[str, pd.DataFrame]:
        names = ("by_source", "paired_tests", "metrics")
        run_script(
            "metrics",
            input=inputs(folder),
            output={name: folder / f"{name}.csv" for name in names},
            params=PARAMS | {"seed": seed},
        )
        read = {"keep_default_na": False, "na_values": [""]}
        return {name: pd.read_csv(folder / f"{name}.csv", **read) for name in names}

    found = make(seed=1)
    metrics = found["metrics"]
    assert metrics[["model", "dataset"]].drop_duplicates().to_numpy().tolist() == [
        row[:2] for row in ROWS
    ]
    assert set(metrics.majority_country) == {"DE"}
    assert set(metrics.majority_baseline) == {0.25}
    assert metrics.accuracy.tolist() == [0.75] * 4 + [0.25] * 4 + [0.375] * 4
    assert metrics.within_1_km.tolist() == metrics.accuracy.tolist()
    by_author = metrics.set_index("test_set").accuracy_low_by_author
    assert by_author["far"].notna().all()
    assert by_author["original"].isna().all()
    (paired,) = found["paired_tests"].query("test_set == 'far'").itertuples()
    assert (paired.model, paired.first, paired.second) == ("cnn", "original", "weighted_base")
    assert (paired.only_first, paired.only_second) == (1, 2)
    assert set(found["by_source"].source) == {"s", "far"}
    # Of so few resamples, each seed has its own. Intervals of few authors have none.
    monkeypatch.setattr("geoloc.evaluation.intervals.RESAMPLES", 3)
    monkeypatch.setattr("geoloc.evaluation.intervals.FEW_AUTHORS", 0)
    seeds = [make(seed) for seed in range(3)]
    for name, column in (
        ("metrics", "accuracy_low_by_author"),
        ("paired_tests", "difference_low_by_author"),
    ):
        assert len({tuple(tables[name][column].dropna()) for tables in seeds}) > 1


def test_metrics_are_of_the_images_of_the_index(folder, tmp_path, caplog):
    index = pd.read_parquet(folder / "index.parquet")

    def make(changed: pd.DataFrame) -> None:
        changed.to_parquet(tmp_path / "index.parquet")
        run_script(
            "metrics",
            input=inputs(folder) | {"index": tmp_path / "index.parquet"},
            output={n: tmp_path / n for n in ("by_source", "paired_tests", "metrics")},
            params=PARAMS | {"seed": 1},
        )

    more = index.iloc[:2].assign(image_id=["s/more", "s/another"])
    make(pd.concat([index, more]))
    assert "could not be read and have no prediction: 2" in caplog.text
    with pytest.raises(ValueError, match=r"0.parquet: 1 images are not .* such as s/3"):
        make(index.assign(country=index.country.mask(index.image_id == "s/3", "NA")))


def test_answers_use_the_leakage_the_majority_the_authors_and_the_seed(
    folder, tmp_path, monkeypatch
):
    ids = [f"{source}/{number}" for source in ("s", "far") for number in range(len(LABELS))]
    leakage = pd.DataFrame({"image_id": ids, "split": "test", "bits": [3, 9, *[64] * 14]})
    leakage.to_csv(tmp_path / "leakage.csv", index=False)
    settings = {
        "datasets": {
            "original": {"curve": "none"},
            "weighted_base": {"curve": "linear", "scores_of": "self"},
            "weighted_custom": {"curve": "piecewise", "scores_of": "self"},
        },
        "models": {"clip": {"kind": "clip", "path": "folder"}, "cnn": {"kind": "cnn"}},
        "titles": {"models": TITLES, "datasets": DATASET_TITLES, "test_sets": {"far": "Far"}},
    }
    names = {"table": "a.csv", "records": "a.json", "verdict": "verdict.txt"}

    def make(bits: int, seed: int = 1) -> pd.DataFrame:
        run_script(
            "answers",
            input=inputs(folder) | {"leakage": tmp_path / "leakage.csv"},
            output={name: tmp_path / file for name, file in names.items()},
            params=PARAMS | {"seed": seed, "settings": settings, "near_duplicate_bits": bits},
        )
        return pd.read_csv(tmp_path / "a.csv").set_index("key")

    found = make(bits=6)
    assert found.estimate["diagonal/cnn/weighted_base/original"] == 0.125
    assert found.estimate["baseline/clip/default/original"] == 0.5  # of Germany, in 2 of 8 images
    assert found.n["near_duplicates/cnn/original/without"] == 7
    assert "author" in found.method["baseline/clip/default/far"]
    assert "author" not in found.method["baseline/clip/default/original"]
    records = json.loads((tmp_path / "a.json").read_text())
    assert [record["key"] for record in records] == list(found.index)
    text = (tmp_path / "verdict.txt").read_text()
    assert text.startswith("It can't be told with this many images")
    assert make(bits=9).n["near_duplicates/cnn/original/without"] == 6
    monkeypatch.setattr("geoloc.evaluation.intervals.RESAMPLES", 3)
    assert len({tuple(make(6, seed).low) for seed in range(3)}) > 1
    leakage[:-1].to_csv(tmp_path / "leakage.csv", index=False)
    with pytest.raises(InputError, match="leakage has no row for far/7"):
        make(bits=6)


def test_distances_are_listed_after_the_published_ones_of_the_same_test_set(tmp_path):
    shares = {f"within_{limit}_km": 0.25 for limit in (1, 25, 200, 750, 2500)}
    rows = [
        {"model": "clip", "dataset": "default", "test_set": test_set, "n_located": 8,
         "accuracy": 0.5, "distances_to": "country_medians"} | shares
        for test_set in ("im2gps3k", "other")
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "metrics.csv", index=False)
    run_script(
        "published_distances",
        input={"metrics": tmp_path / "metrics.csv"},
        output={"table": tmp_path / "d.csv"},
        params={"model_titles": TITLES, "dataset_titles": DATASET_TITLES},
    )
    table = pd.read_csv(tmp_path / "d.csv").set_index("model")
    assert table.within_750_km["StreetCLIP"] == 0.613
    assert table.accuracy.notna().tolist() == [False] * (len(table) - 1) + [True]
    ours = table.loc["My CLIP"]
    assert table.distances_to.tolist() == ["places"] * (len(table) - 1) + ["country_medians"]
    assert (ours.trained_on, ours.images, ours.within_750_km) == ("Default", 8, 0.25)
    assert (set(table.test_set), ours.source) == ({"im2gps3k"}, "this run")


SCHEMA = load_schema(ROOT / "config/config.schema.yaml")
PHOTOS = {"test_sets": {"im2gps3k": {"title": "Im2GPS-3k-modified"}}}
STUDY_TITLES = study_titles(default_config(SCHEMA) | PHOTOS, SCHEMA) | {
    "Model": {TITLES["cnn"]: TITLES["cnn"], "Head": "Transfer Learning"}
}


def test_the_comparison_is_of_the_models_that_it_is_given(folder, monkeypatch):
    monkeypatch.setattr("geoloc.evaluation.study.other_classes", lambda countries, selected: [])
    table = published().replace("Transfer Learning", "Head")
    table.loc[0, "Original Test Accuracy"] = "50.00"
    table.to_csv(folder / "own.csv", index=False)
    (folder / "classes.txt").write_text("street sign\n")

    def compare(**changes) -> pd.DataFrame:
        run_script(
            "table1_comparison",
            input={
                "table": folder / "own.csv",
                "countries": folder / "countries.csv",
                "classes": [folder / "classes.txt"],
            },
            output={"comparison": folder / "c.csv"},
            params={"differences": [], "titles": STUDY_TITLES} | changes,
        )
        return pd.read_csv(folder / "c.csv")

    found = compare()
    assert found.Model.value_counts().to_dict() == {
        "Convolutional Neural Network": 12,
        "Transfer Learning": 12,
    }
    assert found[found.Difference != 0][
        ["Ours", "Published", "Difference"]
    ].to_numpy().tolist() == [[50.0, 40.99, 9.01]]
    assert len(compare(titles=STUDY_TITLES | {"Model": {"Head": "Transfer Learning"}})) == 12
    with pytest.raises(ValueError, match="scores.objects.minimum"):
        compare(differences=["scores.objects.minimum"])
    monkeypatch.setattr(
        "geoloc.evaluation.study.other_classes", lambda countries, selected: ["others"]
    )
    assert compare().empty


# --------------------------------------------------------------------------------------- figures


def test_the_accuracy_figure_has_the_titles_of_models_and_test_sets(folder, monkeypatch):
    saved = recorded(monkeypatch, "geoloc.evaluation.figures.save")
    rows = [{"model": "cnn", "dataset": "original", "test_set": "far", "n": 9, "accuracy": 0.5,
             "accuracy_low": 0.4, "accuracy_high": 0.6, "accuracy_low_by_author": np.nan,
             "accuracy_high_by_author": np.nan, "majority_country": "NA",
             "majority_baseline": 0.3}]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "m.csv", index=False)
    run_script(
        "accuracy_figure",
        input={"metrics": folder / "m.csv"},
        output={"figure": "a.png"},
        params={
            "model_titles": TITLES,
            "dataset_titles": DATASET_TITLES,
            "test_set_titles": {"far": "Far Away"},
        },
    )
    (call,) = saved
    (axis,) = call["figure"].axes
    assert call["path"] == "a.png"
    assert axis.get_title() == "Far Away (n = 9)"
    assert [t.get_text() for t in axis.get_yticklabels()] == [f"{TITLES['cnn']} · Original"]
    assert "always answering Namibia" in [h.get_label() for h in axis.get_lines()]


def test_training_curves_are_of_each_row_beside_the_validation_majority(folder, monkeypatch):
    drawn = recorded(
        monkeypatch, "geoloc.evaluation.figures.training_curves", lambda call: "figure"
    )
    saved = recorded(monkeypatch, "geoloc.evaluation.figures.save")
    (folder / "clip").mkdir(exist_ok=True)
    for path, value in ((folder / "h0.csv", 0.1), (folder / "clip/history.csv", 0.2)):
        pd.DataFrame({"val_accuracy": [value]}).to_csv(path, index=False)
    titles = [("CNN", "trained on Original"), ("CLIP", "trained on Default")]
    run_script(
        "training_curves",
        input={
            "histories": [folder / "h0.csv"],
            "clips": [folder / "clip"],
            "countries": folder / "countries.csv",
        },
        output={"figure": "t.png"},
        params={"titles": titles, "captioned": ["CLIP"]},
    )
    (call,) = drawn
    found = [(m, d, frame.val_accuracy[0]) for m, d, frame in call["histories"]]
    assert found == [(*titles[0], 0.1), (*titles[1], 0.2)]
    assert call["captioned"] == ["CLIP"]
    # Germany has the most training images; 1 of 11 validation images, of which 5 are not kept.
    assert call["majority_baseline"] == pytest.approx(1 / 11)
    assert saved == [{"figure": "figure", "path": "t.png"}]


def test_the_examples_are_weighted_as_configured_and_drawn_by_seed(folder, monkeypatch):
    saved = recorded(monkeypatch, "geoloc.evaluation.figures.save")
    images, segments, masks = [], [], []
    (folder / "c.txt").write_text("street sign\n")
    for number, country in enumerate(("DE", "FR", "NA", "JP")):
        buffer = io.BytesIO()
        Image.new("RGB", (SCORE_SIZE, SCORE_SIZE), (200, 200, 200)).save(buffer, "PNG")
        row = {"image_id": country, "image": buffer.getvalue(), "latitude": 0.0, "longitude": 0.0,
               "split": "train", "source": "s"}  # fmt: skip
        kinds = {"images": images, "segments": segments, "scores": masks}
        for kind, paths in kinds.items():
            paths.append(folder / kind / country / "0000.h5")
            paths[-1].parent.mkdir(parents=True)
        write_images(images[-1], [row])
        mask = np.ones((SCORE_SIZE, SCORE_SIZE), bool)
        write_segments(segments[-1], [segments_of(country, [mask])])
        write_scores(masks[-1], [(country, np.full((SCORE_SIZE, SCORE_SIZE), 50 + number, "u1"))])
    custom = {"curve": "piecewise", "no_score_factor": 0.5, "minimum_factor": 0.5,
              "maximum_factor": 0.5, "lower_score": 20, "upper_score": 95}  # fmt: skip
    views = {"Base": {"curve": "linear"}, "Custom": custom}

    def countries_and_pixels(examples: int, seed: int) -> tuple[list[str], list[list[int]]]:
        run_script(
            "score_examples",
            input={
                "images": images,
                "segments": segments,
                "scores": masks,
                "classes": folder / "c.txt",
            },
            output={"figure": "e.png"},
            params={
                "examples": examples,
                "seed": seed,
                "views": views,
                "minimum": 0.1,
                "ambiguous_classes": "first_meaning",
                "vocabulary": "imagenet",
            },
        )
        axes = saved[-1]["figure"].axes[: 5 * examples]
        names = [a.get_ylabel().splitlines()[1] for a in axes[::5]]
        return names, [
            [int(axes[i + k].images[0].get_array().max()) for k in (0, 2, 3, 4)]
            for i in range(0, len(axes), 5)
        ]

    names, pixels = countries_and_pixels(4, 0)
    assert names == ["DE", "FR", "JP", "NA"]
    assert pixels == [[200, 50, 100, 100], [200, 51, 102, 100], [200, 53, 105, 100],
                      [200, 52, 104, 100]]  # fmt: skip
    drawn = {countries_and_pixels(1, seed)[0][0] for seed in range(8)}
    assert len(drawn) > 1
    assert saved[-1]["path"] == "e.png"


def test_exported_weights_go_where_the_rule_says(monkeypatch):
    exported = recorded(
        monkeypatch, "geoloc.segmentation.classifiers.efficientnet_lite0_export.export_weights"
    )
    run_script("export_efficientnet_lite0", output={"weights": "w.safetensors"})
    assert [list(call.values()) for call in exported] == [["w.safetensors"]]
