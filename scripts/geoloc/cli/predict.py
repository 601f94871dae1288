"""`geoloc predict`: the likeliest countries of any photograph, by a trained model.

Libraries of the models are imported when a model is loaded, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from geoloc.arguments import positive
from geoloc.countries.names import display_name
from geoloc.countries.places import Answers, Places
from geoloc.errors import FileError, InputError
from geoloc.images import (
    EXTENSIONS,
    MAX_MEGAPIXELS,
    Preparation,
    UnreadableImage,
    decode,
    image_files,
    prepare,
    read_file,
    resize_nearest,
)
from geoloc.model_record import read_record
from geoloc.probabilities import NotADistribution, check_probabilities
from geoloc.progress import Progress
from geoloc.types import ARRAY_SIZE, SCORE_SIZE

PREPARATIONS = {"center": Preparation("center", SCORE_SIZE), "none": Preparation()}
BATCH_SIZE = 32
CELLS = "cells.json"  # in the folder of a model that answers with cells
EXAMPLES = """\
examples:
  one photo:
    geoloc predict street.jpg --model results/study/models/cnn/original/42
  all photos in a folder and its subfolders, as JSON:
    geoloc predict photos/ --model results/study/models/cnn/original/42 --json
  the three most likely countries of photos that are not street images, by a CLIP:
    geoloc predict *.jpg --top 3 --crop none \\
        --model resources/weights/streetclip --countries results/study/index/countries.csv
"""


@dataclass(frozen=True)
class CountryModel:
    """What `predict` needs of a model.

    name: its folder; classes (k): ISO codes in the order of the columns; probabilities: from n
    images uint8 (H, W, 3), RGB, of any sizes, to (n, k) float32, or (n, p) of p places; dataset:
    the dataset that it was trained on if that weights images, else empty; places: those that the
    columns stand for, if it answers with places.
    """

    name: str
    classes: list[str]
    probabilities: Callable[[Sequence[np.ndarray]], np.ndarray]
    dataset: str = ""
    places: Places | None = None


# -------------------------------------------------------------------------------------- models


def load_model(
    folder: Path,
    countries: Path | None = None,
    prompt: str | None = None,
    file: Path | None = None,
) -> CountryModel:
    """Load a model that the rule `train` wrote, or a CLIP as transformers saves it.

    Args:
        folder: of the model.
        countries: an index/countries.csv; for a CLIP only.
        prompt: the prompt for a country; for a CLIP only.
        file: the Python file that the model was built by; for the kind `keras` only.

    Raises:
        OSError: if the folder does not contain a complete model.
        ValueError: if the options do not apply to the model.
    """
    if (folder / "model.keras").is_file():
        if countries or prompt:
            raise InputError(
                f"{folder} is not a CLIP and has its own countries; remove --countries and --prompt"
            )
        return _load_keras(folder, file)
    if (folder / "config.json").is_file():
        if file:
            raise InputError(f"{folder} is a CLIP and needs no Python file; remove --file")
        return _load_clip(folder, countries, prompt)
    raise FileError(
        f"{folder} does not contain a model: neither the model.keras of a trained model nor the "
        "config.json of a CLIP; give results/RUN/models/MODEL/DATASET/SEED"
    )


def _load_keras(folder: Path, file: Path | None = None) -> CountryModel:
    from geoloc.keras_models.predict import load_trained

    trained, classes, places = load_trained(folder, file=file), None, None
    if (folder / CELLS).is_file():
        from geoloc.keras_models.cells import load_places

        places = load_places(folder, trained.classes)
        classes = places.classes

    def probabilities(batch: Sequence[np.ndarray]) -> np.ndarray:
        pixels = np.stack([resize_nearest(image, ARRAY_SIZE) for image in batch])
        return trained.model.predict_on_batch(pixels)

    classes = classes or trained.classes
    dataset = "" if trained.view.unchanged else trained.dataset
    return CountryModel(str(folder), classes, probabilities, dataset, places)


def _load_clip(folder: Path, countries: Path | None, prompt: str | None) -> CountryModel:
    """Load a CLIP. Only one that the workflow trained records its countries and its dataset."""
    record = read_record(folder) if (folder / "classes.json").is_file() else None
    if record is None and countries is None:
        raise InputError(
            f"{folder} is a CLIP that this workflow did not train; give the countries to choose "
            "from with --countries results/RUN/index/countries.csv"
        )
    classes = _read_classes(countries) if countries else record.classes
    from transformers.utils.logging import disable_progress_bar

    from geoloc.image_text.zero_shot import ClipZeroShot

    disable_progress_bar()  # of loading weights
    model = ClipZeroShot(folder, list(map(display_name, classes)), prompt or "{country}")
    dataset = record.dataset if record and not record.view.unchanged else ""
    return CountryModel(str(folder), classes, model.probabilities, dataset)


def _read_classes(path: Path) -> list[str]:
    from geoloc.corpus.index_tables import kept_classes

    try:
        classes = kept_classes(path)
    except KeyError as error:
        raise InputError(f"{path} has no column {error}; give the countries.csv of a run") from None
    if not classes:
        raise InputError(f"{path} has no kept country; give the countries.csv of a run")
    return classes


# --------------------------------------------------------------------------------- photographs


def find_photographs(path: Path) -> list[Path]:
    """Return a file itself, or the image files of a folder and its subfolders, sorted by name and
    without hidden ones.

    Raises:
        UnreadableImage: if a folder contains no image file.
    """
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for folder, subfolders, _ in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(folder, name) for name in image_files(Path(folder))]
    if not found:
        kinds = ", ".join(sorted(EXTENSIONS))
        raise UnreadableImage(f"no image file in this folder (looked for {kinds})")
    return found


def read_photograph(
    path: Path, preparation: Preparation, max_megapixels: float = MAX_MEGAPIXELS
) -> np.ndarray:
    """Read a photo and prepare it as the workflow does: upright, cropped, uint8 (H, W, 3), RGB.

    Raises:
        UnreadableImage: with the reason, also if the file does not exist.
    """
    try:
        return decode(prepare(read_file(path), preparation, max_megapixels))
    except OSError as error:
        raise UnreadableImage(error.strerror or str(error)) from error


Failures = list[tuple[Path, str]]
Prediction = tuple[Path, np.ndarray, np.ndarray | None]
"""A photo, its probabilities (k,), and the latitude and longitude (2,) in degrees that a model of
places answers with."""


def predict(
    model: CountryModel,
    paths: Iterable[Path],
    preparation: Preparation,
    failures: Failures,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterator[Prediction]:
    """Yield each photo with its probabilities (k,), float32, and its place, in order.

    Photos that can't be read are reported on stderr, added to `failures` with the reason, and
    skipped.

    Raises:
        ValueError: if the probabilities are not a distribution.
    """
    readable = _read(paths, preparation, failures, max_megapixels)
    while batch := list(islice(readable, BATCH_SIZE)):
        names, images = zip(*batch, strict=True)
        probabilities = model.probabilities(images)
        check_probabilities(probabilities, names, model.name, "photographs")
        answers = model.places.answer(probabilities) if model.places else Answers(probabilities)
        places = [None] * len(names) if answers.places is None else answers.places
        yield from zip(names, answers.probabilities, places, strict=True)


def _read(
    paths: Iterable[Path], preparation: Preparation, failures: Failures, max_megapixels: float
) -> Iterator[tuple[Path, np.ndarray]]:
    for path in paths:
        try:
            yield path, read_photograph(path, preparation, max_megapixels)
        except UnreadableImage as error:
            fail(path, error, failures)


def fail(path: Path, error: UnreadableImage, failures: Failures) -> None:
    """Report on stderr why a path has no prediction, and remember it."""
    print(f"error: {path}: {error}", file=sys.stderr)
    failures.append((path, str(error)))


# -------------------------------------------------------------------------------------- output


def likeliest(probabilities: np.ndarray, classes: Sequence[str], top: int) -> list[dict]:
    """Return the `top` most likely of k countries: country (ISO alpha-2), name and probability
    (0–1). Ties keep the order of the classes."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [
        {
            "country": classes[column],
            "name": display_name(classes[column]),
            "probability": float(probabilities[column]),
        }
        for column in order
    ]


Row = tuple[Path, list[dict], np.ndarray | None]
"""A photo, what `likeliest` returns of it, and its place."""


def print_json(rows: Iterable[Row]) -> None:
    """Print a list with one object per photo, in ASCII, which any terminal can display."""
    photographs = []
    for path, countries, place in rows:
        row = {"photograph": str(path), "countries": countries}
        if place is not None:
            row |= {"latitude": float(place[0]), "longitude": float(place[1])}
        photographs.append(row)
    json.dump(photographs, sys.stdout, indent=2)
    print()


def print_table(rows: Iterable[Row], paths: Sequence[Path], classes: Sequence[str]) -> None:
    """Print one line per photo and country as soon as it is known, the first of a photo with its
    place. Column widths fit all `paths` and all `classes`."""
    width = max(len(str(path)) for path in [Path("Photograph"), *paths])
    name_width = max(len(name) for name in ["Country", *map(display_name, classes)])
    print(f"{'Photograph':<{width}}  {'Country':<{name_width}}  Probability")
    for path, countries, place in rows:
        for rank, row in enumerate(countries):
            photograph = "" if rank else str(path)
            percent = f"{100 * row['probability']:.1f} %"
            where = "" if rank or place is None else f"  at {place[0]:.4f}, {place[1]:.4f}"
            line = f"{photograph:<{width}}  {row['name']:<{name_width}}  {percent:>11}{where}"
            print(line, flush=True)


# ------------------------------------------------------------------------------------- command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status: 1 if a photo could not be read, 2 if the model
    could not be loaded or its probabilities are not a distribution, otherwise 0."""
    options = parse_arguments(arguments)
    set_up_output()
    paths, failures = [], []
    for path in options.photographs:
        try:
            paths += find_photographs(path)
        except UnreadableImage as error:
            fail(path, error, failures)
    try:
        model = load_model(options.model, options.countries, options.prompt, options.file)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if model.dataset:
        print(
            f"note: {options.model} was trained on the dataset {model.dataset}. Your photos have "
            "no score map, so it sees them unchanged, like Im2GPS3k in the study",
            file=sys.stderr,
        )
    progress = Progress(paths, description="predict") if len(paths) > 1 else paths
    preparation = PREPARATIONS[options.crop]
    predictions = predict(model, progress, preparation, failures, options.max_megapixels)
    rows = (
        (path, likeliest(probabilities, model.classes, options.top), place)
        for path, probabilities, place in predictions
    )
    try:
        if options.json:
            print_json(rows)
        else:
            print_table(rows, paths, model.classes)
    except NotADistribution as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if failures else 0


def set_up_output() -> None:
    """Send progress to stderr, and escape characters that the terminal can't display."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("geoloc").setLevel(logging.INFO)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="geoloc predict",
        description="Predict the most likely countries of your photos with a trained model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "photographs",
        metavar="PHOTO",
        nargs="+",
        type=Path,
        help="image file, or folder of image files",
    )
    model = "results/RUN/models/MODEL/DATASET/SEED, or a CLIP as transformers saves it"
    add("--model", metavar="FOLDER", required=True, type=Path, help=model)
    add(
        "--top",
        metavar="N",
        type=positive,
        default=5,
        help="number of countries per photo (default: 5)",
    )
    add("--json", action="store_true", help="print JSON instead of a table")
    crop = "center: the largest centred square, as in training (default); none: the "
    crop += "whole photo, as in Im2GPS3k"
    add("--crop", choices=list(PREPARATIONS), default="center", help=crop)
    largest = f"reject larger photos (default: {MAX_MEGAPIXELS})"
    add("--max-megapixels", metavar="N", type=positive, default=MAX_MEGAPIXELS, help=largest)
    countries = "for a CLIP that this workflow did not train: the countries to choose from, "
    countries += "results/RUN/index/countries.csv"
    add("--countries", metavar="CSV", type=Path, help=countries)
    file = "for a model of the kind keras with layers of its own: its Python file, which is run"
    add("--file", metavar="PY", type=Path, help=file)
    prompt = 'for a CLIP: the prompt for a country; the default is its name, "{country}"'
    add("--prompt", metavar="TEXT", help=prompt)
    return parser.parse_args(arguments)
