"""`geoloc compare`: Compare the accuracies of two finished runs, with intervals.

For runs with other sources, another split or other settings. Images that both runs tested are
compared in pairs, by source, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geoloc
from geoloc.config import ConfigError, load_schema, read_written_config
from geoloc.corpus.index_tables import kept_classes, majority_country
from geoloc.errors import FileError
from geoloc.evaluation.compare_runs import Compared, compare_runs, images_in_words
from geoloc.evaluation.evidence import Evidence
from geoloc.evaluation.intervals import authors_of_images
from geoloc.evaluation.read_predictions import read_predictions
from geoloc.files import atomic_path
from geoloc.matrix import answer_settings, rows, street_test_sets, titles_of_test_sets
from geoloc.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = Path(geoloc.__file__).parents[2] / "config/config.schema.yaml"
WITHOUT_EFFECT = ("run", "threads", "containers", "allow_cpu", "explain")
TITLES = {
    "same_images": "On images that both runs tested, in pairs",
    "own_images": "On all test images of each run, which are not the same (images of both)",
}
EXAMPLES = """\
examples:
  how much neighbors of training images help:
    geoloc compare results/by_place results/study
  one source against two, on the same test images, also as a table:
    geoloc compare results/banerjee results/study --csv one_source.csv
"""


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="geoloc compare",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", type=Path, help="folder of a finished run, results/NAME")
    add("other", metavar="OTHER", type=Path, help="folder of the run that it is compared with")
    add("--csv", type=Path, metavar="FILE", help="write the comparisons to a table, too")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparisons of two runs.

    Raises:
        FileError: if a folder is not that of a finished run.
        InputError: if the runs can't be compared.
    """
    options = parse_arguments(arguments)
    configs = [read_config(folder) for folder in (options.run, options.other)]
    first, second = (
        Compared(str(folder), read_evidence(folder, config))
        for folder, config in zip((options.run, options.other), configs, strict=True)
    )
    table = compare_runs(first, second)
    if options.csv:
        with atomic_path(options.csv) as temporary:
            table.to_csv(temporary, index=False)
    differing = ", ".join(different_keys(*configs)) or "nothing that changes results"
    print(f"The configurations differ in: {differing}.")
    print(f"Accuracy in {first.name} minus that in {second.name}, in points, with 95 % intervals:")
    print("\n".join(lines(table, first, second)))
    return 0


def lines(table: pd.DataFrame, first: Compared, second: Compared) -> Iterator[str]:
    """Return the comparisons as text: a block for each group of images, a line for each row of
    Table 1."""
    keys = table["key"].str.split("/", n=3, expand=True)
    models, datasets = (keys[1].map(first.evidence.model), keys[2].map(first.evidence.dataset))
    rows = models + ", " + datasets
    width = rows.str.len().max()
    for family, title in TITLES.items():
        if (table["family"] == family).any():
            yield f"\n{title}"
        for group, part in table[table["family"] == family].groupby(keys[3], sort=False):
            what = images_in_words(first, second, *group.split("/")).removesuffix(",")
            yield f"  {what}: {part['n'].iloc[0]:,} images"
            yield from (
                f"    {rows[line.Index]:{width}}  {numbers(line)}" for line in part.itertuples()
            )


def numbers(line: Any) -> str:
    """Return a comparison as text: difference in points, interval and corrected p-value."""
    estimate, low, high = (100 * value for value in (line.estimate, line.low, line.high))
    seeds = f", {line.seeds} seeds" if line.seeds > 1 else ""
    return f"{estimate:+6.1f}  ({low:+.1f} to {high:+.1f}), p {line.p_adjusted:.2g}{seeds}"


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a finished run.

    Raises:
        FileError: if it is missing or damaged.
    """
    path = folder / "config.yaml"
    try:
        return read_written_config(path, load_schema(SCHEMA))
    except (OSError, ConfigError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path}: {reason}; give the folder of a run, results/NAME") from error


def read_evidence(folder: Path, config: Mapping[str, Any]) -> Evidence:
    """Read the predictions of a finished run.

    Raises:
        FileError: if a file is missing or damaged.
        InputError: if predictions are not those of the run.
    """
    paths = {row: folder / f"predictions/{row.path}.parquet" for row in rows(config)}
    countries, index = folder / "index/countries.csv", folder / "index/images.parquet"
    if missing := [path for path in (countries, index, *paths.values()) if not path.exists()]:
        raise FileError(f"{missing[0]} does not exist; finish the run with snakemake first")
    frames = read_predictions(
        list(paths.values()),
        kept_classes(countries),
        [list(street_test_sets(config, row.dataset)) for row in paths],
        titles_of_test_sets(config),
    )
    images = read_table(index, columns=["image_id", "source", "author"])
    return Evidence(
        predictions=[(*row, frame) for row, frame in zip(paths, frames, strict=True)],
        **answer_settings(config),
        majority=majority_country(countries),
        near_duplicates=frozenset(),
        authors=authors_of_images(images),
        seed=config["seed"],
    )


def different_keys(
    first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = ""
) -> list[str]:
    """Return the dotted keys in which two configurations differ, without those that change no
    result."""
    found = []
    for key in dict.fromkeys([*first, *second]):
        one, other, name = first.get(key), second.get(key), f"{prefix}{key}"
        if one == other or name in WITHOUT_EFFECT:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += different_keys(one, other, f"{name}.")
        else:
            found.append(name)
    return found
