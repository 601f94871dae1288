"""The command `geoloc predict`: what a user gives it, and what it answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from shutil import ignore_patterns

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geoloc.cli import predict
from geoloc.corpus import pack, prepare
from geoloc.corpus.index_tables import MANIFEST_COLUMNS
from geoloc.corpus.sources import Source
from geoloc.countries.cells import CellsRecord, adaptive_cells, write_cells
from geoloc.countries.places import Places
from geoloc.image_text.training import train_clip
from geoloc.image_text.zero_shot import ClipZeroShot
from geoloc.images import Preparation
from geoloc.keras_models import predict as keras_predict
from geoloc.stores import Arrays
from tests.image_text.test_clip import NAMES, TINY, Squares
from tests.keras_models.test_training import CLASSES, stores, train_briefly  # noqa: F401  stores is a fixture
from tests.processes import ENVIRONMENT, ROOT

ROTATED = 6  # EXIF orientation: to be turned by 90 degrees clockwise


def save(path: Path, size: tuple[int, int], seed: int, **options) -> Path:
    """A photograph of coarse color patches, (width, height) in pixels."""
    patches = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    Image.fromarray(patches).resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Landscape, portrait, turned by EXIF, gray; names with a space and an accent."""
    folder = tmp_path_factory.mktemp("photographs")
    turned = Image.Exif()
    turned[0x0112] = ROTATED
    save(folder / "a street.jpg", (900, 400), 1)
    save(folder / "été.png", (300, 500), 2)
    save(folder / "turned.jpg", (800, 600), 3, exif=turned)
    (folder / "below").mkdir()
    save(folder / "below" / "small.webp", (120, 90), 4, lossless=True)
    return folder


@pytest.fixture(scope="module")
def keras_model(stores, tmp_path_factory) -> Path:  # noqa: F811
    folder = tmp_path_factory.mktemp("keras")
    train_briefly(stores, folder, epochs=1)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    train_clip(folder, Squares(24, 1), Squares(12, 2), NAMES, TINY)
    return folder


@pytest.fixture
def countries(tmp_path) -> Path:
    rows = [f"{code},{name},9,9,9,9,True" for code, name in NAMES.items()]
    table = "\n".join(["country,name,images,train,val,test,kept", *rows, "FR,France,1,0,0,0,False"])
    (tmp_path / "countries.csv").write_text(table + "\n")
    return tmp_path / "countries.csv"


def answer(capsys, *arguments) -> dict[str, dict[str, float]]:
    """Probabilities by photograph and country, from the command's JSON."""
    assert predict.main([*map(str, arguments), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    return {
        row["photograph"]: {c["country"]: c["probability"] for c in row["countries"]}
        for row in rows
    }


def by_the_workflow(photograph: Path, preparation: Preparation, folder: Path) -> Arrays:
    """The arrays that the rules `prepare` and `pack_images` make of a photograph."""
    row = {"image_id": "x", "source": "s", "path": photograph.name, "split": "test"}
    pd.DataFrame([row], columns=MANIFEST_COLUMNS).to_csv(folder / "manifest.csv", index=False)
    source = Source("s", "street", "country_folders", photograph.parent, preparation=preparation)
    images, arrays = folder / "images.h5", folder / "arrays.h5"
    prepare.prepare_shard(folder / "manifest.csv", {"s": source}, images, folder / "quarantine.csv")
    pack.pack_images(images, "FR", arrays)
    return Arrays([arrays])


@pytest.mark.parametrize(
    ("crop", "preparation"), [("center", Preparation("center", 640)), ("none", Preparation())]
)
def test_a_photograph_is_seen_as_the_workflow_sees_it(
    crop, preparation, photographs, keras_model, tmp_path, capsys
):
    found = answer(capsys, photographs, "--model", keras_model, "--crop", crop)
    assert len(found) == 4
    rows = np.array([[countries[country] for country in CLASSES] for countries in found.values()])
    assert np.ptp(rows, axis=0).max() > 1e-3  # else any preprocessing would do
    trained = keras_predict.load_trained(keras_model)
    for row, photograph in zip(rows, found, strict=True):
        arrays = by_the_workflow(Path(photograph), preparation, tmp_path)
        expected = keras_predict.predict(trained, arrays, "original")[0]
        assert np.allclose(row, expected, rtol=0, atol=1e-5), photograph


def test_a_turned_photograph_is_predicted_upright(photographs, keras_model, tmp_path, capsys):
    upright = Image.open(photographs / "turned.jpg").transpose(Image.Transpose.ROTATE_270)
    upright.save(tmp_path / "upright.png", exif=Image.Exif())
    paths = [photographs / "turned.jpg", tmp_path / "upright.png"]
    turned, expected = answer(capsys, *paths, "--model", keras_model).values()
    assert turned == pytest.approx(expected, abs=1e-5)
    lying = Image.open(photographs / "turned.jpg")
    lying.save(tmp_path / "lying.png", exif=Image.Exif())
    (other,) = answer(capsys, tmp_path / "lying.png", "--model", keras_model).values()
    assert other != pytest.approx(expected, abs=1e-4)


def test_what_is_no_image_is_named_and_the_others_are_predicted(
    photographs, keras_model, tmp_path, capsys
):
    text, cut, nothing = (tmp_path / name for name in ("text.jpg", "cut.jpg", "nothing.jpg"))
    text.write_text("not an image")
    cut.write_bytes((photographs / "a street.jpg").read_bytes()[:2000])
    (tmp_path / "empty").mkdir()
    good = photographs / "a street.jpg"
    paths = map(str, [text, good, cut, nothing, tmp_path / "empty"])
    assert predict.main([*paths, "--model", str(keras_model), "--json"]) == 1
    output = capsys.readouterr()
    assert [row["photograph"] for row in json.loads(output.out)] == [str(good)]
    errors = re.findall(rf"^error: {tmp_path}/(.+?): .+", output.err, re.MULTILINE)
    assert sorted(errors) == ["cut.jpg", "empty", "nothing.jpg", "text.jpg"]
    assert f"error: {text}: not a JPEG, PNG" in output.err


def test_the_table_names_the_likeliest_countries_first(photographs, keras_model, capsys):
    paths = [photographs / "été.png", photographs / "a street.jpg"]
    found = answer(capsys, *paths, "--model", keras_model)
    predict.main([*map(str, paths), "--model", str(keras_model), "--top", "2"])
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["Photograph", "Country", "Probability"]
    assert len(lines) == 4
    assert {len(line) for line in lines} == {len(header)}
    assert [line.startswith(str(photographs)) for line in lines] == [True, False, True, False]
    names = {"DE": "Germany", "FR": "France", "NA": "Namibia"}
    for path, line in zip(paths, lines[::2], strict=True):
        country, probability = max(found[str(path)].items(), key=lambda item: item[1])
        expected = [names[country], f"{100 * probability:.1f}", "%"]
        assert line.removeprefix(str(path)).split() == expected


def test_a_name_with_a_line_break_stays_on_one_line(keras_model, photographs, tmp_path, capsys):
    good, cut = tmp_path / "a\nb\x1b[2J.png", tmp_path / "c\nd.png"
    shutil.copy(photographs / "été.png", good)
    cut.touch()
    assert predict.main([str(good), str(cut), "--model", str(keras_model), "--top", "1"]) == 1
    output = capsys.readouterr()
    header, line = output.out.splitlines()
    assert line.startswith(f"{tmp_path}/a\\nb\\x1b[2J.png ")
    assert len(line) == len(header)
    assert f"error: {tmp_path}/c\\nd.png: the file is empty\n" in output.err


def test_a_model_of_places_answers_with_countries_and_places(photographs, monkeypatch, capsys):
    places = Places(np.array([(48.9, 2.4), (45.8, 4.8), (52.5, 13.4)]), ["DE", "FR"])
    shares = lambda images: np.tile(np.float32([0.2, 0.35, 0.45]), (len(images), 1))  # noqa: E731
    model = predict.CountryModel("models/cells", ["DE", "FR"], shares, places=places)
    monkeypatch.setattr(predict, "load_model", lambda *_: model)
    path = str(photographs / "été.png")
    assert predict.main([path, "--model", "models/cells", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["latitude"], found["longitude"]) == (45.8, 4.8)
    assert [row["country"] for row in found["countries"]] == ["FR", "DE"]
    assert found["countries"][0]["probability"] == pytest.approx(0.55)
    predict.main([path, "--model", "models/cells"])
    first, second = capsys.readouterr().out.splitlines()[1:]
    assert first.endswith("55.0 %  at 45.8000, 4.8000")
    assert second.endswith("45.0 %")


def test_a_folder_with_cells_is_loaded_with_their_places(keras_model, tmp_path):
    folder = shutil.copytree(keras_model, tmp_path / "cells")
    towns = np.repeat([(52.5, 13.4), (48.9, 2.4), (-22.6, 17.1)], 3, axis=0)
    cells = adaptive_cells(towns, 4, 3)
    write_cells(folder, CellsRecord(cells, ["DE", "FR", "NA"], "nearest_city"))
    record = json.loads((folder / "classes.json").read_text()) | {"classes": cells.tokens}
    (folder / "classes.json").write_text(json.dumps(record))
    model = predict.load_model(folder)
    assert model.classes == ["DE", "FR", "NA"]
    answers = model.places.answer(np.eye(3))
    assert {tuple(place) for place in answers.places.round(1).tolist()} == {
        (52.5, 13.4),
        (48.9, 2.4),
        (-22.6, 17.1),
    }


def test_a_model_of_a_weighted_dataset_is_told_of(photographs, keras_model, clip, capsys):
    predict.main([str(photographs / "été.png"), "--model", str(keras_model)])
    assert "trained on the dataset weighted_base. It sees your photos unchanged" in (
        capsys.readouterr().err
    )
    predict.main([str(photographs / "été.png"), "--model", str(clip)])  # of unchanged images
    assert capsys.readouterr().err == ""


def test_a_clip_chooses_between_the_countries_of_a_run(photographs, clip, countries, capsys):
    prompt = "a street in {country}"
    arguments = ("--model", clip, "--countries", countries, "--prompt", prompt)
    path = photographs / "été.png"
    found = answer(capsys, path, *arguments)[str(path)]
    image = predict.read_photograph(path, Preparation("center", 640))
    expected = ClipZeroShot(clip, list(NAMES.values()), prompt).probabilities([image])[0]
    assert [found[country] for country in NAMES] == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_clip_of_the_workflow_knows_its_countries(photographs, clip, countries, capsys):
    path = photographs / "été.png"
    alone = answer(capsys, path, "--model", clip)
    assert alone == answer(capsys, path, "--model", clip, "--countries", countries)


def test_a_model_that_cannot_be_used_is_answered_with_what_to_do(
    photographs, keras_model, clip, countries, tmp_path, capsys
):
    def message(*arguments) -> str:
        assert predict.main([str(photographs / "été.png"), *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "does not contain a model" in message("--model", tmp_path)
    stranger = shutil.copytree(clip, tmp_path / "stranger", ignore=ignore_patterns("classes.json"))
    assert "--countries results/RUN/index/countries.csv" in message("--model", stranger)
    given = ("--countries", countries)
    assert "remove --countries" in message("--model", keras_model, *given)
    assert "does not contain {country}" in message("--model", clip, *given, "--prompt", "a street")
    countries.write_text("a,b\n1,2\n")
    assert "no column country, kept" in message("--model", clip, *given)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_probabilities_that_are_none_are_told_of_and_not_written(
    form, photographs, tmp_path, monkeypatch, capsys
):
    def nothing(images):
        return np.full((len(images), 2), np.nan, np.float32)

    model = predict.CountryModel("models/cnn", ["DE", "FR"], nothing)
    monkeypatch.setattr(predict, "load_model", lambda *_: model)
    path = str(photographs / "été.png")
    assert predict.main([path, "--model", "models/cnn", *form]) == 2
    written = capsys.readouterr()
    assert f"error: models/cnn: the probabilities of {path} (photographs) are not" in written.err
    assert "%" not in written.out
    assert "[" not in written.out


def test_pipes_and_pictures_above_the_limit_are_named_and_not_read(tmp_path, monkeypatch, capsys):
    model = predict.CountryModel("m", ["FR"], lambda images: np.ones((len(images), 1), np.float32))
    monkeypatch.setattr(predict, "load_model", lambda *_: model)
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, side in (("small.png", 1000), ("large.png", 1001)):
        Image.new("L", (side, 1000)).save(tmp_path / name)
    paths = [str(tmp_path / name) for name in ("pipe.jpg", "small.png", "large.png")]
    assert predict.main([*paths, "--model", "m", "--max-megapixels", "1"]) == 1
    written = capsys.readouterr()
    assert f"error: {paths[0]}: a FIFO, not a file" in written.err
    assert f"error: {paths[2]}: has 1.001 megapixels, more than 1; raise" in written.err
    assert paths[1] in written.out
    assert predict.main([*paths[1:], "--model", "m"]) == 0


def test_many_photographs_show_their_progress(photographs, keras_model, caplog):
    caplog.set_level("INFO")
    predict.main([str(photographs), "--model", str(keras_model)])
    assert "predict: 4/4 images" in caplog.text


def test_help_answers_from_the_folder_of_scripts_without_the_libraries_of_models():
    environment = {key: value for key, value in ENVIRONMENT.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-X", "importtime", "-m", "geoloc", "predict", "--help"]
    result = subprocess.run(
        command, cwd=ROOT / "scripts", env=environment, capture_output=True, text=True, check=True
    )
    assert "geoloc predict photos/ --model" in result.stdout
    imported = set(re.findall(r"\| +(\w+)$", result.stderr, re.MULTILINE))
    assert "numpy" in imported
    assert not {"tensorflow", "keras", "torch", "transformers", "pandas"} & imported
