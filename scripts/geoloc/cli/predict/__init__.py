"""`geoloc predict`: the most probable countries of any photo, by a trained model."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from geoloc.arguments import positive
from geoloc.cli.predict.models import CountryModel, load_model
from geoloc.cli.predict.output import FORMATS, Row, likeliest
from geoloc.cli.predict.photographs import (
    Failures,
    Photograph,
    fail,
    find_photographs,
    predict,
    read_photograph,
    read_photographs,
)
from geoloc.cli.predict.places import distance_to_answer, taken_at
from geoloc.cli.predict.runs import Run, needed_run, run_of
from geoloc.errors import GeolocError
from geoloc.images import MAX_MEGAPIXELS, Preparation, UnreadableImage
from geoloc.progress import Progress
from geoloc.types import SCORE_SIZE

__all__ = ["CountryModel", "load_model", "main", "read_photograph"]

PREPARATIONS = {"center": Preparation("center", SCORE_SIZE), "none": Preparation()}
EXAMPLES = """\
examples:
  one photo:
    geoloc predict street.jpg --model results/study/models/cnn/original/42
  all photos in a folder and its subfolders, as a table for a spreadsheet:
    geoloc predict photos/ --model results/study/models/cnn/original/42 --format csv > answers.csv
  what the run's segmentation finds telling in them, as pictures:
    geoloc predict photos/ --model results/study/models/cnn/original/42 --score-maps maps/
  the three most likely countries of photos that are not street images, by a CLIP:
    geoloc predict *.jpg --top 3 --crop none \\
        --model resources/weights/streetclip --countries results/study/index/countries.csv
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 1 if a photo could not be read, 2 if the model could not be loaded or its
        probabilities are not a distribution, otherwise 0.
    """
    options = parse_arguments(arguments)
    set_up_output()
    paths, failures = find_all(options.photographs)
    run = run_of(options.model, options.countries)
    try:
        model = load_model(options.model, options.countries, options.prompt, options.file)
        maps = load_score_maps(options, model, run)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for note in notes(options.model, model, run):
        print(f"note: {note}", file=sys.stderr)
    progress = Progress(paths, description="predict") if len(paths) > 1 else paths
    preparation = PREPARATIONS[options.crop]
    photographs = read_photographs(progress, preparation, failures, options.max_megapixels)
    rows = make_rows(model, photographs, run, maps, options.top)
    try:
        FORMATS[options.format](rows, paths, model.classes)
    except GeolocError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if failures else 0


def find_all(given: Sequence[Path]) -> tuple[list[Path], Failures]:
    """Return the photos in files and folders, and the paths that have none."""
    paths: list[Path] = []
    failures: Failures = []
    for path in given:
        try:
            paths += find_photographs(path)
        except UnreadableImage as error:
            fail(path, error, failures)
    return paths, failures


def load_score_maps(options: argparse.Namespace, model: CountryModel, run: Run | None):
    """Return the ScoreMaps that the options request, or None. Raises the errors of `ScoreMaps`."""
    if not options.score_maps:
        return None
    from geoloc.cli.predict.score_maps import ScoreMaps  # imports torch

    return ScoreMaps(needed_run(run, options.model), model.scores, options.score_maps)


def notes(folder: Path, model: CountryModel, run: Run | None) -> Iterator[str]:
    """Yield what a user should know of a model before its predictions."""
    if run and run.is_demo:
        yield f"{folder} is a model of the demo: it knows only drawings, not photos"
    if model.dataset:
        yield (
            f"{folder} was trained on the dataset {model.dataset}. It sees your photos unchanged, "
            "without score maps, like Im2GPS3k in the study"
        )


def make_rows(
    model: CountryModel, photographs: Iterable[Photograph], run: Run | None, maps, top: int
) -> Iterator[Row]:
    """Yield the output for each photo; `maps` (ScoreMaps or None) draws its score map first."""
    for path, probabilities, place in predict(
        model, maps.drawn(photographs) if maps else photographs
    ):
        countries, taken = likeliest(probabilities, model.classes, top), taken_at(path)
        distance = taken and distance_to_answer(taken, countries[0]["country"], place, run)
        answer = None if place is None else (float(place[0]), float(place[1]))
        yield Row(path, countries, answer, taken, distance, maps and maps.paths[path])


def set_up_output() -> None:
    """Send progress to stderr, and escape characters that the terminal can't display."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("geoloc").setLevel(logging.INFO)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="geoloc predict",
        description="Predict the most likely countries of your photos with a trained model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    photographs = "image file, or folder of image files"
    add("photographs", metavar="PHOTO", nargs="+", type=Path, help=photographs)
    model = "results/RUN/models/MODEL/DATASET/SEED, or a CLIP as transformers saves it"
    add("--model", metavar="FOLDER", required=True, type=Path, help=model)
    top = "number of countries per photo (default: 5)"
    add("--top", metavar="N", type=positive, default=5, help=top)
    form = (
        "how to print the answers: table (default), json, or csv with a line per photo and country"
    )
    add("--format", choices=list(FORMATS), default="table", help=form)
    add(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="the same as --format json",
    )
    maps = (
        "draw the score map of each photo into this folder, by the segmentation of the model's run"
    )
    add("--score-maps", metavar="FOLDER", type=Path, help=maps)
    crop = "center: the largest centered square, as in training (default); none: the "
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
