"""Each experiment runs to its report on a tiny world. `make test-experiments` runs it.

The networks that an experiment downloads are replaced by small ones of the same architecture with
random weights, so the numbers mean nothing. What they are numbers of is checked.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml

from geoloc.corpus.spatial_split import grid_cells
from geoloc.countries.polygons import place_within
from geoloc.stores import read_scores
from tests.conftest import ROOT
from tests.workflow.test_workflow import SMALL, make_workdir, run_snakemake

pytestmark = pytest.mark.skipif(
    not os.environ.get("TEST_EXPERIMENTS"), reason="make test-experiments runs it"
)
EXPERIMENTS = sorted((ROOT / "config/experiments").glob("*.yaml"))
TRAINED_ON = ("original", "weighted_base", "weighted_custom")
# Of three countries, without explanations, and with one row of the transfer model: most of the time
# goes into starting jobs.
WORLD = SMALL | {
    "demo": SMALL["demo"] | {"countries": 3},
    "segmentations": {"sam": {"points_per_side": 6}},
    "explain": {"images": 0},
    "models": {"transfer": {"datasets": ["original"]}},
}
ROWS_OF_WORLD = 5  # of the CNN 3, the transfer model 1 and the CLIP 1
# The rows of an experiment that has a run of its own: nothing of the world is used again.
ROWS_OF_RUN = 2
OWN_RUN = {
    "models": {
        "cnn": {"datasets": ["original", "weighted_custom"]},
        "transfer": None,
        "clip": None,
    }
}
# What makes an experiment small, or shows more of it.
SMALLER = {
    "across_sources": OWN_RUN
    | {
        "index": {"min_images": 5, "split": [0.6, 0.2, 0.2]},
        "test_sets": {
            "streetview": {
                "path": "resources/demo/streetview",
                "images": ".",
                "table": "coordinates.csv",
                "retrieve": None,
            },
        },
    },
    "banerjee": OWN_RUN | {"index": {"min_images": 5, "split": [0.6, 0.2, 0.2]}},
    "by_place": OWN_RUN | {"index": {"place_km": 200}},  # in which some images are neighbors
    "competitors": {
        "models": {"geoclip": {"path": "resources/weights/clip", "gallery": "places.csv"}}
    },
    # The first step of the warm-up has a learning rate of zero.
    "contrastive": {"models": {"contrastive": {"epochs": 8, "batch_size": 8, "image_size": 64}}},
    "controls": {"explain": SMALL["explain"], "models": {"transfer": None}},
    # The tiny world has fewer images than the demo, whose settings docs/models.md names.
    "planet": {"models": {"planet": {"maximum_images": 10, "minimum_images": 2}}},
    "seeds": {"seeds": [42, 43], "models": {"transfer": None}},
    "street_segmenters": {
        "models": {"transfer": None},
        "segmentations": {
            "sam2": {
                "path": "resources/weights/small_sam2",
                "points_per_side": 6,
                "pred_iou_thresh": 0.0,
                "stability_score_thresh": 0.0,
                "classifier": {"kind": "efficientnet_lite0", "weights": None},
            }
        },
    },
}


class Results:
    """The tables of a finished run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table1, self.metrics = self.table("table1"), self.table("metrics")
        self.answers = self.table("answers")

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"{name}.csv", keep_default_na=False, na_values=[""])

    def images(self) -> pd.DataFrame:
        return pd.read_parquet(self.folder / "index/images.parquet")

    def scores_of(self, name: str) -> list[Path]:
        """The stores of score maps, one a shard."""
        return sorted((self.folder / "scores" / name).rglob("*.h5"))

    def probabilities(self, model: str) -> dict[str, pd.DataFrame]:
        """The answers of a model's rows to each image, by dataset: shares of the first countries.

        Of the first seed, and of the images that all rows are tested on.
        """
        tables = {}
        for folder in sorted((self.folder / "predictions" / model).iterdir()):
            table = pd.read_parquet(min(folder.glob("*.parquet")))
            table = table[table.test_set.isin([*TRAINED_ON, "im2gps3k"])]
            by_image = table.set_index(["test_set", "image_id"]).sort_index()
            tables[folder.name] = by_image[["country_1", "probability_1", "probability_2"]]
        return tables

    def keys(self, family: str) -> set[str]:
        """The questions of a family, without its name."""
        found = self.answers[self.answers.family == family]
        return set(found.key.str.removeprefix(f"{family}/"))

    def tested_on_their_own(self, model: str) -> set[str]:
        """The datasets that rows of a model were trained and tested on."""
        rows = self.metrics[self.metrics.model == model]
        return set(rows[rows.dataset == rows.test_set].dataset)

    def distances_to(self, model: str) -> set[str]:
        return set(self.metrics[self.metrics.model == model].distances_to)


def check_rows_are_of_different_models(results: Results) -> None:
    """What a model learned depends on its dataset, and what it answers depends on the image."""
    for model in sorted(set(results.metrics.model)):
        tables = results.probabilities(model)
        for dataset, table in tables.items():
            assert table.probability_1.nunique() > 1, (model, dataset)
        for first, second in combinations(tables, 2):
            assert not tables[first].equals(tables[second]), (model, first, second)


def check_across_sources(results: Results) -> None:
    """One source is trained on, and the other is a column of Table 1."""
    images = results.images()
    assert set(images[images.collection == "street"].source) == {"geoguessr"}
    assert set(images[images.source == "streetview"].collection) == {"streetview"}
    assert set(results.metrics.test_set) == {*TRAINED_ON, "im2gps3k", "streetview"}


def check_banerjee(results: Results) -> None:
    """One source is left, so none are compared."""
    images = results.images()
    assert set(images[images.collection == "street"].source) == {"geoguessr"}
    assert results.keys("sources") == set()


def check_by_place(results: Results) -> None:
    images = results.images()
    street = images[(images.collection == "street") & images.latitude.notna()]
    size = SMALLER["by_place"]["index"]["place_km"]
    cells = grid_cells(street.latitude.to_numpy(), street.longitude.to_numpy(), size)
    assert len(set(cells)) < len(street)
    assert (street.split.groupby(cells).nunique() == 1).all()


def check_competitors(results: Results) -> None:
    """GeoCLIP answers with places, the CLIPs with countries, each from weights of its own, and each
    is compared with the CNN."""
    clips = [results.probabilities(name)["default"] for name in ("clip_vit_l14", "clip_vit_b32")]
    assert not clips[0].equals(clips[1])
    assert results.distances_to("geoclip") == {"places"}
    assert results.distances_to("clip_vit_l14") == {"country_medians"}
    assert set(results.table1["Trained On"][-3:]) == {"Default"}
    for model in ("geoclip", "clip_vit_l14", "clip_vit_b32"):
        assert {f"cnn/{model}/original", f"cnn/{model}/im2gps3k"} <= results.keys("models")


def check_contrastive(results: Results) -> None:
    pairs = {f"contrastive/cnn/{dataset}/{dataset}" for dataset in TRAINED_ON}
    assert pairs <= results.keys("contrastive")


def check_controls(results: Results) -> None:
    """Each control shows other pixels, and is compared with what it is a control of."""
    controls = ["inverted", "other_image", "mean_filled", "blurred"]
    assert set(controls) <= results.tested_on_their_own("cnn")
    assert results.keys("choice_of_objects") == {"cnn/weighted_custom/other_image"}
    assert results.keys("loss_of_information") == {"cnn/other_image/original"}
    assert results.keys("inverted") == {"cnn/weighted_custom/inverted"}
    assert results.keys("fills") == {
        "cnn/mean_filled/weighted_custom",
        "cnn/blurred/weighted_custom",
    }
    visible = results.table("found_visible")
    everywhere = visible[visible.country == "all"].set_index("dataset").mean_factor
    assert everywhere["inverted"] > everywhere["weighted_custom"]
    cause = results.table("explanations/cause")
    assert set(cause[cause.model == "cnn"].dataset) == {*TRAINED_ON, *controls}


def check_imagenet_input(results: Results) -> None:
    assert results.keys("preprocessing") == {
        "transfer_imagenet/transfer/original/original",
        "transfer_imagenet/transfer/original/im2gps3k",
    }


def check_planet(results: Results) -> None:
    """The model answers with the mean places of its cells, others with their country's median."""
    assert results.distances_to("planet") == {"places"}
    assert results.distances_to("cnn") == {"country_medians"}
    cells = json.loads((results.folder / "models/planet/original/42/cells.json").read_text())
    places = {(cell["latitude"], cell["longitude"]) for cell in cells["cells"]}
    answers = pd.read_parquet(results.folder / "predictions/planet/original/42.parquet")
    given = answers[["predicted_latitude", "predicted_longitude"]].itertuples(index=False)
    assert set(map(tuple, given)) <= places
    assert "cnn/planet/original" in results.keys("models")


def check_seeds(results: Results) -> None:
    seeds = results.table("table1_seeds")
    assert len(seeds) == 2 * len(results.table1)
    columns = list(results.table1.columns[2:])
    means = seeds.groupby(["Model", "Trained On"], sort=False)[columns].mean()
    np.testing.assert_allclose(means.to_numpy(), results.table1[columns].to_numpy(), atol=0.011)
    assert set(results.metrics.seeds) == {2}
    assert results.metrics.accuracy_sd.notna().all()
    assert (results.answers.seeds == 2).all()


def check_street_segmenters(results: Results) -> None:
    """Each segmentation has score maps of its own, whose datasets are compared with the study's."""
    names = ["sam2", "mask2former_cityscapes", "mask2former_mapillary", "oneformer_cityscapes",
             "segformer_cityscapes"]  # fmt: skip
    assert set(names) <= results.tested_on_their_own("cnn")
    assert results.keys("score_maps") == {f"cnn/{name}/weighted_custom" for name in names}
    for first, second in combinations(["objects", *names], 2):
        paths = zip(results.scores_of(first), results.scores_of(second), strict=True)
        pairs = (zip(read_scores(a), read_scores(b), strict=True) for a, b in paths)
        assert any((a != b).any() for of in pairs for (_, a), (_, b) in of), (first, second)


def check_yuan(results: Results) -> None:
    """Each image is shown by its best object, where something scores."""
    assert "object" in results.tested_on_their_own("cnn")
    assert "cnn/object/original" in results.keys("diagonal")
    boxes = pd.concat(map(pd.read_csv, (results.folder / "arrays/crops").rglob("*.csv")))
    street = results.images().query("collection == 'street'")
    quarantine = results.table("quarantine")
    assert set(boxes.image_id) == set(street.image_id) - set(
        quarantine.source + "/" + quarantine.path
    )
    assert boxes.score.max() > 0


class Experiment(NamedTuple):
    """How many rows an experiment adds to those of the world, and what else is expected of it."""

    rows: int
    check: Callable[[Results], None]


EXPECTED = {
    "across_sources": Experiment(ROWS_OF_RUN - ROWS_OF_WORLD, check_across_sources),
    "banerjee": Experiment(ROWS_OF_RUN - ROWS_OF_WORLD, check_banerjee),
    "by_place": Experiment(ROWS_OF_RUN - ROWS_OF_WORLD, check_by_place),
    "competitors": Experiment(3, check_competitors),
    "contrastive": Experiment(3, check_contrastive),
    "controls": Experiment(4 - 1, check_controls),
    "imagenet_input": Experiment(1, check_imagenet_input),
    "planet": Experiment(3, check_planet),
    "seeds": Experiment(-1, check_seeds),
    "street_segmenters": Experiment(5 - 1, check_street_segmenters),
    "yuan": Experiment(1, check_yuan),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A finished run on a small world."""
    folder = make_workdir(tmp_path_factory.mktemp("experiments"))
    (folder / "small.yaml").write_text(yaml.safe_dump(WORLD))
    run_snakemake(folder, "--configfile", "config/demo.yaml", "small.yaml")
    return folder


def write_small_networks(folder: Path, name: str) -> None:
    """What the experiment would download, as small networks."""
    from tests.coordinates.test_geoclip import write_clip
    from tests.small_segmenters import sam2, semantic_folder

    entries = yaml.safe_load((ROOT / f"config/experiments/{name}.yaml").read_text())
    weights = folder / "resources/weights"
    if name == "competitors":
        write_clip(weights / "clip", 768)
        write_gallery(folder / "places.csv")
        for seed, entry in enumerate(entries["models"].values()):
            if "path" in entry:  # each has weights of its own
                write_clip(folder / entry["path"], 32, seed)
    if name == "street_segmenters":
        for entry in entries["segmentations"].values():
            target = folder / entry["path"]
            if entry["kind"] == "sam2":
                network, processor = sam2()
                for part in (network, processor):  # the published file has a known digest
                    part.save_pretrained(weights / "small_sam2")
            else:
                architecture = target.name.partition("-")[0].partition("_")[0]
                semantic_folder(target, architecture, entry["vocabulary"])


def write_gallery(path: Path) -> None:
    """Places for GeoCLIP, some in countries of the world. Its own 100,000 take a minute."""
    places = [place_within(country) for country in ("BR", "FI", "FR", "JP", "NA")]
    pd.DataFrame(places, columns=["LAT", "LON"]).to_csv(path, index=False)


def finish(folder: Path, name: str) -> Results:
    """Run an experiment in a copy of the world."""
    write_small_networks(folder, name)
    (folder / "own.yaml").write_text(yaml.safe_dump(SMALLER.get(name, {})))
    overlay = f"config/experiments/{name}.yaml"
    run_snakemake(folder, "--configfile", "config/demo.yaml", "small.yaml", overlay, "own.yaml")
    run = yaml.safe_load((ROOT / overlay).read_text(encoding="utf-8")).get("run", WORLD["run"])
    return Results(folder / "results" / run)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_an_experiment_runs_to_its_report(world, tmp_path, name):
    shutil.copytree(world, tmp_path / "run", symlinks=True)
    results = finish(tmp_path / "run", name)
    assert len(results.table1) == ROWS_OF_WORLD + EXPECTED[name].rows
    assert results.table1.iloc[:, 2:].notna().all(axis=None)
    check_rows_are_of_different_models(results)
    EXPECTED[name].check(results)
    verified = subprocess.run(
        [sys.executable, "-m", "geoloc", "verify", str(results.folder)],
        cwd=tmp_path / "run",
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
    )
    assert verified.returncode == 0, verified.stdout[-3000:]


def test_every_experiment_is_run():
    assert [path.stem for path in EXPERIMENTS] == sorted(EXPECTED)
