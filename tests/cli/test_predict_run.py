"""`geoloc predict` with a model of a run: places, score maps; and with models that are none."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pillow_heif
import pytest
from PIL import ExifTags, Image

from geoloc.cli import predict
from geoloc.config import read_config, write_config
from geoloc.image_text.folder import load_clip, pixel_values
from tests.cli.test_predict import clip, countries, keras_model, save  # noqa: F401  fixtures
from tests.conftest import ROOT
from tests.keras_models.test_training import stores  # noqa: F401  a fixture
from tests.processes import ENVIRONMENT

TAKEN = (48.8584, 2.2945)


def exif_of(latitude: float, longitude: float) -> Image.Exif:
    """North-eastern coordinates as a phone writes them."""
    tags, exif = ExifTags.GPS, Image.Exif()
    exif[ExifTags.IFD.GPSInfo] = {
        tags.GPSLatitudeRef: "N",
        tags.GPSLatitude: (latitude, 0.0, 0.0),
        tags.GPSLongitudeRef: "E",
        tags.GPSLongitude: (longitude, 0.0, 0.0),
    }
    return exif


def haversine(here: tuple[float, float], there: tuple[float, float]) -> float:
    """Kilometers on a sphere of 6,371 km."""
    (a, b), (c, d) = np.radians(here), np.radians(there)
    half = np.sin((c - a) / 2) ** 2 + np.cos(a) * np.cos(c) * np.sin((d - b) / 2) ** 2
    return 2 * 6371 * np.arcsin(np.sqrt(half))


@pytest.fixture(scope="module")
def run(keras_model, tmp_path_factory) -> Path:  # noqa: F811
    """A run of the demo with one model, whose countries are at known places."""
    base = tmp_path_factory.mktemp("project")
    folder = base / "results/demo"
    shutil.copytree(keras_model, folder / "models/cnn/weighted_base/42")
    config = read_config([ROOT / "config/demo.yaml"])
    config["segmentations"]["sam"]["points_per_side"] = 3
    write_config(folder / "config.yaml", config)
    rows = [("DE", 52.5, 13.4), ("FR", 47.0, 2.0), ("NA", -22.6, 17.1)]
    index = pd.DataFrame(rows, columns=["country", "latitude", "longitude"])
    (folder / "index").mkdir()
    index.assign(split="train").to_parquet(folder / "index/images.parquet")
    return folder


def answers(capsys, *arguments) -> tuple[str, str]:
    assert predict.main(list(map(str, arguments))) == 0
    return capsys.readouterr()


def test_every_format_has_place_and_distance_of_a_photo_with_coordinates(run, tmp_path, capsys):
    save(tmp_path / "phone.jpg", (400, 300), 1, exif=exif_of(*TAKEN))
    pillow_heif.from_pillow(Image.open(save(tmp_path / "x.png", (400, 300), 2))).save(
        tmp_path / "phone.heic", exif=exif_of(*TAKEN).tobytes()
    )
    given = (tmp_path, "--model", run / "models/cnn/weighted_base/42", "--top", 2)
    found = json.loads(answers(capsys, *given, "--json")[0])
    assert [Path(row["photograph"]).name for row in found] == ["phone.heic", "phone.jpg", "x.png"]
    assert "distance_km" not in found[2]
    to_country = {"DE": (52.5, 13.4), "FR": (47.0, 2.0), "NA": (-22.6, 17.1)}
    for row in found[:2]:
        assert (row["exif_latitude"], row["exif_longitude"]) == pytest.approx(TAKEN, abs=1e-4)
        answer = to_country[row["countries"][0]["country"]]
        assert row["distance_km"] == pytest.approx(haversine(TAKEN, answer), abs=0.1)
    table = list(csv.DictReader(io.StringIO(answers(capsys, *given, "--format", "csv")[0])))
    assert len(table) == 6
    for row, photograph in zip(table[::2], found, strict=True):
        assert row["photograph"] == photograph["photograph"]
        assert float(row["probability"]) == photograph["countries"][0]["probability"]
        assert row["distance_km"] == str(photograph.get("distance_km", ""))
    text = answers(capsys, *given)[0].splitlines()[1]
    assert f"taken at 48.8584, 2.2945, {found[0]['distance_km']:,.0f} km from the answer" in text


def test_a_model_of_the_demo_says_that_it_knows_only_drawings(run, tmp_path, capsys):
    photo = save(tmp_path / "a.jpg", (400, 300), 1)
    told = answers(capsys, photo, "--model", run / "models/cnn/weighted_base/42")[1]
    assert told.count("it knows only drawings, not photos\n") == 1


def test_score_maps_are_drawn_by_the_segmentation_of_the_run(run, tmp_path, capsys):
    (tmp_path / "more").mkdir()
    for folder in (tmp_path, tmp_path / "more"):  # a name with what Matplotlib takes for a formula
        save(folder / "a$_b$.jpg", (200, 150), 1)
    given = ("--model", run / "models/cnn/weighted_base/42", "--crop", "none")
    given += ("--score-maps", tmp_path / "maps")
    found = json.loads(answers(capsys, tmp_path, *given, "--json")[0])
    drawn = [Path(row["score_map"]) for row in found]
    assert [path.name for path in drawn] == ["a$_b$.png", "a$_b$-2.png"]
    for path in drawn:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert np.ptp(pixels.reshape(-1, 3), axis=0).min() > 100


def test_score_maps_need_a_run(clip, countries, tmp_path, capsys):  # noqa: F811
    photo = save(tmp_path / "a.jpg", (90, 70), 1)
    given = ["--model", clip, "--countries", countries, "--score-maps", tmp_path / "maps"]
    assert predict.main([str(photo), *map(str, given)]) == 2
    assert "is in no run, so nothing says how score maps are made" in capsys.readouterr().err


def test_photos_of_any_size_and_shape_are_read_in_bounded_memory(clip, tmp_path, capsys):  # noqa: F811
    Image.new("RGB", (8000, 6000), "teal").save(tmp_path / "48 megapixels.jpg")
    for size in ((20_000, 1), (1, 20_000)):
        Image.new("RGB", size, "teal").save(tmp_path / f"{size[0]}.png")
    code = (
        "import sys; from geoloc.cli.main import main; status = main(sys.argv[1:]);"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')];"
        "print(peak[0].split()[1], file=sys.stderr); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "predict", tmp_path, "--model", clip, "--crop", "none"]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    # KiB, of which torch takes 0.7 million. (ru_maxrss would be that of the tests' process, too.)
    assert int(result.stderr.split()[-1]) < 2_500_000


def test_only_images_that_no_photo_resembles_lose_their_ends(clip):  # noqa: F811
    _, processor = load_clip(clip)
    panorama = np.random.default_rng(0).integers(0, 256, (20, 600, 3), np.uint8)
    plain = processor.image_processor(
        [panorama], input_data_format="channels_last", return_tensors="pt"
    )["pixel_values"]
    assert (pixel_values(processor, [panorama]) == plain).all()
    line = np.full((1, 20_000, 3), 90, np.uint8)
    line[:, 9_900:10_100] = 200
    assert pixel_values(processor, [line]).unique().numel() == 3  # the middle, one value a channel


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"]])
def test_a_reader_that_stops_ends_the_command_quietly(arguments):
    command = [sys.executable, "-m", "geoloc", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (141, 0)  # argparse itself ignores such a reader


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def of_the_future(path: Path) -> None:
    """A model as a newer Keras may write it."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    config["config"]["layers"][1]["class_name"] = "Rescaling5"
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("model", "name", "damage"),
    [
        ("keras_model", "model.keras", cut),
        ("keras_model", "model.keras", lambda path: path.write_text("no model")),
        ("keras_model", "model.keras", of_the_future),
        ("keras_model", "classes.json", cut),
        ("keras_model", "cells.json", lambda path: path.write_text("{")),
        ("clip", "model.safetensors", cut),
        ("clip", "config.json", lambda path: path.write_text('{"model_type": "clip9"}')),
        ("clip", "tokenizer.json", cut),
    ],
)
def test_a_damaged_or_newer_model_is_one_line(model, name, damage, request, tmp_path, capfd):
    folder = shutil.copytree(request.getfixturevalue(model), tmp_path / "model")
    damage(folder / name)
    photo = save(tmp_path / "a.jpg", (90, 70), 1)
    capfd.readouterr()
    assert predict.main([str(photo), "--model", str(folder)]) == 2
    written = capfd.readouterr()
    assert written.out == ""
    (line,) = written.err.splitlines()
    assert line.startswith(f"error: {folder}")
