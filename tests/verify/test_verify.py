"""`geoloc verify` finds every damage that is planted in a finished run, and none in a whole one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from geoloc.config import write_config
from geoloc.evaluation import leakage
from geoloc.stores import (
    config_hash,
    read_image_columns,
    read_images,
    read_scores,
    write_images,
    write_scores,
)
from geoloc.verify import Run, main, results, verify
from geoloc.verify.command import CHECKS
from tests.finished_run import configuration, finish, kept_run
from tests.processes import ENVIRONMENT
from tests.small_stores import edit

STAGES = ("images", "segments", "scores", "arrays")
LOADING = ("keras models", "full-size models")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return kept_run() or finish(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of the run, to be damaged; what its configuration names is beside it."""
    (tmp_path / "results").mkdir()
    shutil.copytree(finished.parents[1] / "config", tmp_path / "config")
    return Path(shutil.copytree(finished, tmp_path / "results/finished"))


def problems(run: Path, digests: bool = False, skip: Sequence[str] = LOADING) -> Iterator[str]:
    """Everything that is wrong, as `file: problem`, as it is found."""
    for outcome in verify(Run(run, digests, isolate=False), skip=skip):
        for finding in outcome.findings:
            if not finding.warning:
                yield f"{finding.path}: {finding.problem}"


def test_nothing_is_wrong_with_a_whole_run(finished, capsys, monkeypatch):
    """By the command, as a user gives the run: with a relative path. Models are loaded in processes
    of their own and shards in several."""
    monkeypatch.chdir(finished.parents[1])
    run = str(finished.relative_to(finished.parents[1]))
    assert main([run, "--digests", "--jobs", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == [f"ok    {name}" for name in CHECKS]
    assert "ok    images: 48 in 9 shards" in lines
    assert "ok    keras models: 6 load; their predictions of 2 images agree" in lines
    assert "ok    full-size models: clip: 1 load; their predictions of 2 images agree" in lines
    assert lines[-1].startswith("0 wrong, 0 of 29 checks not made")


def test_an_index_of_earlier_commits_without_digests_is_whole(copied):
    edit_table(copied / "index/shards.csv", lambda table: table.drop(columns="sha256"))
    run = Run(copied, isolate=False)
    found = verify(run, skip=[name for name in CHECKS if name not in ("index", "shards")])
    assert [outcome.findings for outcome in found if outcome.findings] == []


def test_the_command_starts_without_frameworks_and_ends_with_2_where_there_is_no_run(tmp_path):
    code = (
        "import sys, geoloc.verify as v; status = v.main([sys.argv[1]]); "
        "print(sorted({'torch', 'tensorflow', 'keras', 'transformers'} & set(sys.modules))); "
        "sys.exit(status)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert (result.returncode, result.stdout) == (2, "[]\n")
    assert "is not a run" in result.stderr


# ------------------------------------------------------------------------------------ damages


def refit(path: Path, dataset: str, rows: object, value: object) -> None:
    """Change a store and its digests, as if it had been written so."""
    edit(path, set_rows(dataset, rows, value), fitting=True)


def edit_table(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    """Change a parquet or CSV file, the latter as text."""
    parquet = path.suffix == ".parquet"
    table = pd.read_parquet(path) if parquet else pd.read_csv(path, dtype=str, na_filter=False)
    changed = change(table)
    table = table if changed is None else changed
    table.to_parquet(path, index=False) if parquet else table.to_csv(path, index=False)


def edit_text(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def edit_json(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def cut(path: Path, size: int = 100) -> None:
    path.write_bytes(path.read_bytes()[:-size])


def flip(path: Path, dataset: str, byte: int, value: int | None = None) -> None:
    """Change one byte of a contiguous dataset, or 4,096 to `value`."""
    with h5py.File(path) as file:
        offset = file[dataset].id.get_offset() + byte
    data = bytearray(path.read_bytes())
    if value is None:
        data[offset] ^= 1
    else:
        data[offset : offset + 4096] = bytes([value]) * 4096
    path.write_bytes(data)


def swap(first: Path, second: Path) -> None:
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def set_value(table: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    table.loc[row, column] = value
    return table


def without(table: pd.DataFrame, row: int) -> pd.DataFrame:
    return table.drop(index=row)


def doubled(table: pd.DataFrame, row: int) -> pd.DataFrame:
    return pd.concat([table, table.iloc[[row]]])


def set_rows(dataset: str, rows: object, value: object) -> Callable[[h5py.File], None]:
    """`value` may be a function of the dataset."""

    def change(file: h5py.File) -> None:
        file[dataset][rows] = value(file[dataset]) if callable(value) else value

    return change


def drop_last_image(path: Path) -> None:
    columns = {name: values.tolist() for name, values in read_image_columns(path).items()}
    rows = [
        {name: values[row] for name, values in columns.items()} | {"image": image}
        for row, (_, image) in enumerate(read_images(path))
    ]
    write_images(path, rows[:-1])


def masks_of_another_list(path: Path) -> None:
    write_scores(
        path,
        list(read_scores(path)),
        {"selected": [1, 2, 3], "minimum": 0.1, "merge": "maximum"},
    )


def stored_elsewhere(path: Path) -> None:
    """A dataset whose bytes are in another file."""
    other = path.with_name("other.bin")
    other.write_bytes(bytes(10_000_000))

    def change(file: h5py.File) -> None:
        old = file["score"]
        shape, kind = old.shape, old.dtype
        del file["score"]
        file.create_dataset("score", shape, kind, external=[(str(other), 0, h5py.h5f.UNLIMITED)])

    edit(path, change)
    other.rename(other.with_name(".other"))


def linked(path: Path) -> None:
    def change(file: h5py.File) -> None:
        file.move("image_id", "ids")
        file["image_id"] = h5py.SoftLink("/ids")

    edit(path, change)


def smaller_masks(path: Path) -> None:
    def change(file: h5py.File) -> None:
        scores = file["score"][:, ::2, ::2]
        del file["score"]
        file["score"] = scores

    edit(path, change)


def move_test_image_to_train(run: Path) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        street = table[(table.collection == "street") & (table.split == "test")]
        return set_value(table, street.index[0], "split", "train")

    edit_table(run / "index/images.parquet", change)


def nan_weight(run: Path) -> None:
    path = run / "models/cnn/original/42/model.keras"
    unpacked = path.with_suffix("")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(unpacked)

    def poison(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2:
            item[0, 0] = np.nan

    edit(unpacked / "model.weights.h5", lambda file: file.visititems(poison))
    with zipfile.ZipFile(path, "w") as archive:
        for file in unpacked.iterdir():
            archive.write(file, file.name)
    shutil.rmtree(unpacked)
    edit_json(run / MODEL / "classes.json", files={})  # as of an earlier version


def other_model(run: Path) -> None:
    shutil.copy(run / "models/cnn/weighted_base/42/model.keras", run / MODEL / "model.keras")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def clip_without_a_tensor(run: Path) -> None:
    path = run / "models/clip/default/42/model.safetensors"
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path)
    tensors.pop("text_projection.weight")
    save_file(tensors, path, {"format": "pt"})


@dataclass(frozen=True)
class Damage:
    """`plant` damages a run; among what is found is `words` of `file`."""

    plant: Callable[[Path], object]
    file: str
    words: str
    digests: bool = False
    loading: bool = False


INDEX, IMAGES = "index/images.parquet", "images/street/FR/0000.h5"
SEGMENTS, SCORES, ARRAYS = (
    "segments/sam/FR/0000.h5",
    "scores/objects/FR/0000.h5",
    "arrays/images/street/FR/0000.h5",
)
OTHER = "arrays/images/street/GB/0000.h5"
SCORE_ARRAYS = "arrays/scores/objects/FR/0000.h5"
MANIFEST, CNN = "index/shards/street/FR/0000.csv", "predictions/cnn/original/42.parquet"
MODEL = "models/cnn/original/42"
METRICS = ("metrics.csv", "accuracy_by_source.csv", "paired_tests.csv")
ANSWERS = ("answers.csv", "answers.json", "verdict.txt", "published_distances.csv")

MAPS = "explanations/cnn/original/42.h5"

LIST = "lists/arrays/images/street.csv"

DAMAGES = {
    # Lists of shards
    "a shard left out of a list": Damage(
        lambda run: edit_table(run / LIST, lambda t: without(t, 1)), LIST, "is not a list of"),
    "a list changed after it was marked as complete": Damage(
        lambda run: edit_table(run / LIST, lambda t: set_value(t, 0, "bytes", "1")),
        "lists/arrays/images/street.complete", "is not a list of"),
    "a listed store written again with other data": Damage(
        lambda run: refit(run / SCORE_ARRAYS, "score", 0, 7),
        "lists/arrays/scores/objects.csv", "is not a list of"),
    # Explanations
    "an influence changed": Damage(
        lambda run: edit_table(
            run / "explanations/influence.csv", lambda t: set_value(t, 0, "ratio", "9")),
        "explanations/influence.csv", "row 2: ratio"),
    "a table of a row cut": Damage(
        lambda run: edit_table(
            run / "explanations/cnn/original/42_changes.csv", lambda t: without(t, 0)),
        "explanations/cause.csv", "not of the same images"),
    "a map lost": Damage(lambda run: (run / MAPS).unlink(), MAPS, "is missing"),
    "a map of a training image": Damage(
        lambda run: refit(run / MAPS, "image_id", 0, b"geoguessr/France/9.jpg"),
        MAPS, "no test images"),
    "relevance that is not finite": Damage(
        lambda run: refit(run / MAPS, "relevance", (0, 5, 5), np.nan),
        MAPS, "not finite", digests=True),
    # The index
    "index row deleted": Damage(
        lambda run: edit_table(run / INDEX, lambda t: without(t, 5)), "index/shards.csv", "line"),
    "index row doubled": Damage(
        lambda run: edit_table(run / INDEX, lambda t: doubled(t, 5)), INDEX, "more than once"),
    "index row of another country": Damage(
        lambda run: edit_table(run / INDEX, lambda t: set_value(t, 0, "country", "JP")),
        "index/countries.csv", "BR has"),
    "Namibia read as missing in the index": Damage(
        lambda run: edit_table(
            run / INDEX, lambda t: t.replace({"country": {"NA": None}})), INDEX, "without text"),
    "index column lost": Damage(
        lambda run: edit_table(run / INDEX, lambda t: t.drop(columns="author")), INDEX, "columns"),
    "index cut": Damage(lambda run: cut(run / INDEX), INDEX, "again"),
    "a test image became a training image": Damage(
        move_test_image_to_train, "index/countries.csv", "train"),
    "count of a country changed": Damage(
        lambda run: edit_table(
            run / "index/countries.csv", lambda t: set_value(t, 1, "test", "1")),
        "index/countries.csv", "has"),
    "a country kept that is too small": Damage(
        lambda run: edit_table(
            run / "index/countries.csv", lambda t: t.replace({"kept": {"False": "True"}})),
        "index/countries.csv", "min_images"),
    "Namibia read as missing in the countries": Damage(
        lambda run: edit_text(run / "index/countries.csv", "\nNA,", "\n,"),
        "index/countries.csv", "NA"),
    "count of a shard changed": Damage(
        lambda run: edit_table(run / "index/shards.csv", lambda t: set_value(t, 1, "images", "1")),
        "index/shards.csv", "line 3"),
    "digest of a manifest changed": Damage(
        lambda run: edit_table(run / "index/shards.csv", lambda t: set_value(t, 1, "sha256", "0")),
        "index/shards.csv", "line 3"),
    "manifest row deleted": Damage(
        lambda run: edit_table(run / MANIFEST, lambda t: without(t, 1)), MANIFEST, "line 3"),
    "manifest row doubled": Damage(
        lambda run: edit_table(run / MANIFEST, lambda t: doubled(t, 1)), MANIFEST, "the end"),
    "manifest lost": Damage(lambda run: (run / MANIFEST).unlink(), MANIFEST, "is missing"),
    "an image also rejected": Damage(
        lambda run: (run / "index/rejected.csv").write_text(
            "source,path,reason\ngeoguessr,Brazil/0.jpg,none\n"),
        "index/rejected.csv", "also images"),
    "a file read and in no table": Damage(
        lambda run: edit_table(run / "index/listing.csv", lambda t: set_value(t, 0, "files", "40")),
        "index/listing.csv", "were read"),
    "a rejected row lost": Damage(
        lambda run: edit_table(run / "index/rejected.csv", lambda t: without(t, 0)),
        "index/listing.csv", "were rejected"),
    # Packed images
    "quarantine row lost": Damage(
        lambda run: edit_table(run / "quarantine.csv", lambda t: without(t, 0)),
        "quarantine.csv", "line 2"),
    "quarantine row of a shard lost": Damage(
        lambda run: (run / "quarantine/street/JP/0000.csv").write_text("source,path,reason\n"),
        "images/street/JP/0000.h5", "is missing 1"),
    "image row lost": Damage(
        lambda run: drop_last_image(run / IMAGES), IMAGES, "is missing 1"),
    "image row doubled": Damage(
        lambda run: edit(run / IMAGES, set_rows("image_id", 1, lambda values: values[0])),
        IMAGES, "do not have the stored digest"),
    "image of another split": Damage(
        lambda run: refit(
            run / IMAGES, "split", 0,
            lambda values: b"val" if values[0] == b"train" else b"train"),
        IMAGES, "split of 1"),
    "coordinates moved": Damage(
        lambda run: refit(
            run / "images/im2gps3k/FR/0000.h5", "latitude", 0, lambda values: values[0] + 0.5),
        "images/im2gps3k/FR/0000.h5", "latitude of 1"),
    "byte flipped in a packed image": Damage(
        lambda run: edit(run / IMAGES, set_rows("image", 9, lambda values: values[9] ^ 1)),
        IMAGES, "not those that were written"),
    "images swapped": Damage(
        lambda run: swap(run / IMAGES, run / "images/street/GB/0000.h5"), IMAGES, "has others"),
    "images cut": Damage(lambda run: cut(run / IMAGES), IMAGES, "damaged"),
    "images empty": Damage(lambda run: (run / IMAGES).write_bytes(b""), IMAGES, "damaged"),
    "images lost": Damage(lambda run: (run / IMAGES).unlink(), IMAGES, "is missing"),
    "a folder instead of images": Damage(
        lambda run: folder_instead(run / IMAGES), IMAGES, "not a regular file"),
    "a shard of no index": Damage(
        lambda run: shutil.copy(run / IMAGES, run / "images/street/FR/0009.h5"),
        "images/street/FR/0009.h5", "no shard"),
    # Segments and masks
    "segments of another shard": Damage(
        lambda run: swap(run / SEGMENTS, run / "segments/sam/GB/0000.h5"), SEGMENTS, "has others"),
    "images of another crop": Damage(
        lambda run: edit(
            run / "images/street/FR/0000.h5",
            lambda file: file.attrs.modify("config", config_hash({"geoguessr": {}})), fitting=True),
        "images/street/FR/0000.h5", "another crop or size"),
    "segments cut": Damage(lambda run: cut(run / SEGMENTS, 5000), SEGMENTS, "damaged"),
    "class 5000": Damage(
        lambda run: edit(run / SEGMENTS, set_rows("class_id", (0, 0), 5000)),
        SEGMENTS, "not those that were written"),
    "probability of 2.7": Damage(
        lambda run: edit(run / SEGMENTS, set_rows("class_probability", (0, 0), 2.7)),
        SEGMENTS, "not those that were written"),
    "probability of a class not a number": Damage(
        lambda run: edit(run / SEGMENTS, set_rows("class_probability", (-1, 3), np.nan)),
        SEGMENTS, "not those that were written", digests=True),
    "offsets all 0": Damage(
        lambda run: edit(run / SEGMENTS, set_rows("offsets", slice(None), 0)),
        SEGMENTS, "damaged"),
    "run lengths of another size": Damage(
        lambda run: edit(run / SEGMENTS, set_rows("counts", 1, 3)),
        SEGMENTS, "not those that were written"),
    "ids behind a soft link": Damage(
        lambda run: linked(run / SEGMENTS), SEGMENTS, "damaged"),
    "masks of another class list": Damage(
        lambda run: masks_of_another_list(run / SCORES), SCORES, "another class list"),
    "another class list in the configuration": Damage(
        lambda run: (run.parents[1] / "config/selected_classes.txt").write_text("volcano\n"),
        SCORES, "another class list"),
    "masks of another shard": Damage(
        lambda run: swap(run / SCORES, run / "scores/objects/GB/0000.h5"), SCORES, "has others"),
    "score 255": Damage(
        lambda run: edit(run / SCORES, set_rows("score", (0, 9, 9), 255)),
        SCORES, "not those that were written"),
    "a score changed": Damage(
        lambda run: refit(run / SCORES, "score", (3, 9, 9), 77),
        SCORES, "are not those of segments/sam/FR/0000.h5", digests=True),
    "masks of 320 x 320": Damage(lambda run: smaller_masks(run / SCORES), SCORES, "damaged"),
    "scores in another file": Damage(lambda run: stored_elsewhere(run / SCORES), SCORES, "damaged"),
    # Arrays
    "byte flipped in an image": Damage(
        lambda run: flip(run / ARRAYS, "image", 3 * 224 * 224 * 3 + 7), ARRAYS,
        "not those that were written", digests=True),
    "page of zeros in an image": Damage(
        lambda run: flip(run / OTHER, "image", 0, 0), OTHER, "not those that were written"),
    "score over 100": Damage(
        lambda run: flip(run / SCORE_ARRAYS, "score", 0, 255), SCORE_ARRAYS,
        "not those that were written"),
    "image of an older preparation": Damage(
        lambda run: refit(run / ARRAYS, "image", 0, lambda values: values[1]),
        ARRAYS, "pixels are not those of images/street/FR/0000.h5"),
    "scores of older masks": Damage(
        lambda run: refit(run / SCORE_ARRAYS, "score", 0, 7),
        SCORE_ARRAYS, "scores are not those of scores/objects/FR/0000.h5"),
    "label changed": Damage(
        lambda run: edit(run / ARRAYS, set_rows("label", 0, b"JP")),
        ARRAYS, "do not have the stored digest"),
    "label of another country": Damage(
        lambda run: refit(run / ARRAYS, "label", 0, b"JP"), ARRAYS, "label of 1"),
    "arrays of another shard": Damage(lambda run: swap(run / ARRAYS, run / OTHER), OTHER, "others"),
    # Leakage
    "leakage row lost": Damage(
        lambda run: edit_table(run / "leakage.csv", lambda t: without(t, 3)),
        "leakage.csv", "line 5"),
    "leakage from a test image": Damage(
        lambda run: edit_table(
            run / "leakage.csv", lambda t: set_value(t, 0, "nearest_image", t.image_id[1])),
        "leakage.csv", "not a training image"),
    "nearest image erased": Damage(
        lambda run: edit_table(
            run / "leakage.csv",
            lambda t: set_value(set_value(t, 0, "nearest_image", ""), 0, "bits", "")),
        "leakage.csv", "not a training image"),
    "place moved away": Damage(
        lambda run: edit_table(
            run / "leakage.csv",
            lambda t: t.assign(meters=[m and str(float(m) + 9000) for m in t.meters])),
        "leakage.csv", "not the distance"),
    "near duplicates denied": Damage(
        lambda run: edit_table(
            run / "leakage_summary.csv", lambda t: set_value(t, 0, "near_duplicates", "99")),
        "leakage_summary.csv", "near_duplicates"),
    # Models
    "model cut": Damage(
        lambda run: cut(run / MODEL / "model.keras"), f"{MODEL}/model.keras", "no complete model",
        loading=True),
    "weight not a number": Damage(nan_weight, f"{MODEL}/model.keras", "not finite", loading=True),
    "model of another dataset": Damage(
        other_model, f"{MODEL}/model.keras", "not the file that its training wrote", loading=True),
    "model of another dataset, without its digest": Damage(
        lambda run: (other_model(run), edit_json(run / MODEL / "classes.json", files={})),
        f"{MODEL}/model.keras", "predictions say", loading=True),
    "model lost": Damage(
        lambda run: (run / MODEL / "model.keras").unlink(), f"{MODEL}/model.keras", "again",
        loading=True),
    "CLIP without a tensor": Damage(
        clip_without_a_tensor, "models/clip/default/42", "again", loading=True),
    "classes in another order": Damage(
        lambda run: edit_json(
            run / MODEL / "classes.json", classes=["FR", "BR", "GB", "JP", "NA", "US"]),
        f"{MODEL}/classes.json", "classes is"),
    "trained with another seed": Damage(
        lambda run: edit_json(run / MODEL / "classes.json", seed=1),
        f"{MODEL}/classes.json", "seed is 1"),
    "history cut": Damage(
        lambda run: edit_table(run / MODEL / "history.csv", lambda t: without(t, 1)),
        f"{MODEL}/history.csv", "ends after 1 of 2"),
    "loss not a number": Damage(
        lambda run: edit_table(
            run / MODEL / "history.csv", lambda t: set_value(t, 1, "loss", "nan")),
        f"{MODEL}/history.csv", "not finite"),
    # Predictions
    "prediction lost": Damage(
        lambda run: edit_table(run / CNN, lambda t: without(t, 0)), CNN, "is not in all of"),
    "prediction doubled": Damage(
        lambda run: edit_table(run / CNN, lambda t: doubled(t, 0)), CNN, "twice"),
    "prediction of another label": Damage(
        lambda run: edit_table(run / CNN, lambda t: set_value(t, 0, "label", "JP")),
        CNN, "label"),
    "Namibia read as missing in the predictions": Damage(
        lambda run: edit_table(run / CNN, lambda t: t.replace({"label": {"NA": None}})),
        CNN, "no label in"),
    "probability not a number": Damage(
        lambda run: edit_table(
            run / CNN, lambda t: set_value(t, 0, "probability_1", np.float32("nan"))),
        CNN, "is not a share of 1"),
    "probabilities in another order": Damage(
        lambda run: edit_table(
            run / CNN, lambda t: set_value(t, 0, "probability_5", t.probability_1[0])),
        CNN, "rises"),
    "an answer of no class": Damage(
        lambda run: edit_table(run / CNN, lambda t: set_value(t, 0, "country_1", "DE")),
        CNN, "unknown country_1 DE"),
    "probabilities of another type": Damage(
        lambda run: edit_table(run / CNN, lambda t: t.astype({"probability_1": "float64"})),
        CNN, "other columns"),
    "predictions of another model": Damage(
        lambda run: shutil.copy(run / "predictions/transfer/original/42.parquet", run / CNN),
        "predictions/transfer/original/42.parquet", "very content"),
    "predictions cut": Damage(lambda run: cut(run / CNN), CNN, "again"),
    "predictions lost": Damage(lambda run: (run / CNN).unlink(), CNN, "is missing"),
    # Tables and figures
    "accuracy changed": Damage(
        lambda run: edit_table(
            run / "table1.csv", lambda t: set_value(t, 2, t.columns[3], "99.99")),
        "table1.csv", "99.99"),
    "rows of Table 1 swapped": Damage(
        lambda run: edit_table(run / "table1.csv", lambda t: t.iloc[[1, 0, *range(2, 7)]]),
        "table1.csv", "line 2"),
    "column of Table 1 lost": Damage(
        lambda run: edit_table(run / "table1.csv", lambda t: t.iloc[:, :-1]),
        "table1.csv", "line 1"),
    "Table 1 of other numbers in text": Damage(
        lambda run: edit_text(run / "table1.txt", "always", "never"), "table1.txt", "never"),
    "accuracy of the metrics changed": Damage(
        lambda run: edit_table(
            run / "metrics.csv", lambda t: set_value(t, 0, "accuracy", "0.123")),
        "metrics.csv", "accuracy is '0.123'"),
    "interval over authors changed": Damage(
        lambda run: edit_table(
            run / "metrics.csv",
            lambda t: t.assign(accuracy_high_by_author=[
                v and str(float(v) * 0.9) for v in t.accuracy_high_by_author])),
        "metrics.csv", "accuracy_high_by_author", digests=True),
    "a source's images not counted": Damage(
        lambda run: edit_table(
            run / "accuracy_by_source.csv", lambda t: set_value(t, 0, "n", "1")),
        "accuracy_by_source.csv", "n is '1'"),
    "test of a pair lost": Damage(
        lambda run: edit_table(run / "paired_tests.csv", lambda t: without(t, 0)),
        "paired_tests.csv", "rows"),
    "a comparison that is missing a column": Damage(
        lambda run: edit_text(run / "paired_tests.csv", "p_value", "q"),
        "paired_tests.csv", "columns"),
    "an answer that is another one": Damage(
        lambda run: edit_table(run / "answers.csv", lambda t: set_value(t, 0, "estimate", "0.9")),
        "answers.csv", "estimate is '0.9'"),
    "an answer lost": Damage(
        lambda run: edit_text(run / "answers.json", '"key"', '"name"'),
        "answers.json", "other records"),
    "a better distance": Damage(
        lambda run: edit_table(
            run / "published_distances.csv", lambda t: set_value(t, 5, "within_750_km", "0.9")),
        "published_distances.csv", "within_750_km is '0.9'"),
    "a verdict written by hand": Damage(
        lambda run: (run / "verdict.txt").write_text("It helps.\n"),
        "verdict.txt", "by the answers"),
    "a country's images not counted": Damage(
        lambda run: edit_table(
            run / "accuracy_by_country.csv", lambda t: set_value(t, 0, "n", "99")),
        "accuracy_by_country.csv", "n is '99'"),
    "a confusion lost": Damage(
        lambda run: edit_table(run / "confusion.csv", lambda t: without(t, 0)),
        "confusion.csv", "rows"),
    "a record of another table": Damage(
        lambda run: edit_text(run / "leakage_summary.csv", "street,test,", "street,test,0"),
        "run.json", "another leakage_summary.csv"),
    "a record cut": Damage(lambda run: cut(run / "run.json"), "run.json", "is damaged"),
    "a page cut": Damage(lambda run: cut(run / "report.html"), "report.html", "cut off"),
    "a page lost": Damage(lambda run: (run / "report.html").unlink(), "report.html", "is missing"),
    "figure cut": Damage(
        lambda run: cut(run / "figures/accuracy.png", 30), "figures/accuracy.png", "readable"),
    "figure lost": Damage(
        lambda run: (run / "figures/training_curves.png").unlink(),
        "figures/training_curves.png", "is missing"),
    # Special files
    "a pipe instead of a table": Damage(
        lambda run: pipe_instead(run / "quarantine.csv"), "quarantine.csv", "neither a file"),
    "a link to nothing": Damage(
        lambda run: (run / "arrays/images/street/FR/0009.h5").symlink_to("gone"),
        "arrays/images/street/FR/0009.h5", "link to nothing"),
    # The configuration
    "configuration cut": Damage(
        lambda run: cut(run / "config.yaml", 900), "config.yaml", "--configfile"),
    "configuration lost": Damage(
        lambda run: (run / "config.yaml").unlink(), "config.yaml", "is missing"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_planted_damage_is_found_and_its_file_named(damage, copied):
    damage.plant(copied)
    skip = [] if damage.loading else [*LOADING]
    if not damage.file.endswith(".h5"):
        skip += STAGES
    if damage.file not in METRICS:
        skip += ["metrics"]
    if damage.file not in ANSWERS:
        skip += ["answers"]
    found = []
    for line in problems(copied, damage.digests, skip):
        found.append(line)
        if line.startswith(f"{damage.file}: ") and damage.words in line:
            return
    pytest.fail("\n".join(found) or "nothing was found")


def test_what_killed_jobs_left_behind_is_a_note_and_no_error(copied, capsys):
    leftover = copied / "scores/objects/FR/.0000.17.partial.h5"
    leftover.write_bytes(b"half")
    (copied / "models/cnn/original/42/state").mkdir()
    assert main([str(copied), "--skip", *LOADING]) == 0
    lines = capsys.readouterr().out.splitlines()
    notes = [line for line in lines if line.startswith("note")]
    assert len(notes) == 2
    assert str(leftover) in notes[0]


def test_damage_is_listed_with_its_remedy_and_the_status_is_1(copied, capsys):
    (copied / SCORES).unlink()
    assert main([str(copied), "--skip", *LOADING, "--jobs", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"WRONG {copied / SCORES}: is missing; run snakemake again" in lines
    assert "ok    segments: 42 images by sam" in lines
    assert not any(line.startswith("ok    masks") for line in lines)


def test_a_lost_configuration_is_the_only_finding(copied):
    """What needs it is not checked, the rest is."""
    (copied / "config.yaml").unlink()
    assert [line.partition(":")[0] for line in problems(copied)] == ["config.yaml"]


def test_a_process_that_dies_is_a_finding(tmp_path):
    run = Run(tmp_path, jobs=2)
    (finding,) = run.map(os._exit, [(3,), (4,)])
    run.close()
    assert (finding.path, "died" in finding.problem) == (3, True)


def test_settings_that_were_changed_since_are_seen(copied):
    config = configuration(copied)
    config["train"]["epochs"] = 3
    write_config(copied / "config.yaml", config)
    found = [line for line in problems(copied) if line.startswith("models/transfer/original/42")]
    assert "epochs was 2, the configuration says 3" in found[0]


def test_of_too_many_pairs_only_near_duplicates_have_a_nearest_image(monkeypatch):
    train = pd.DataFrame(
        {"country": ["FR", "JP"], "latitude": np.nan, "longitude": np.nan}, index=["s/a", "s/b"]
    )
    packed = pd.DataFrame({"image_id": ["s/c", "s/d"], "latitude": np.nan, "longitude": np.nan})
    table = pd.DataFrame({
        "image_id": ["s/c", "s/d"], "country": "FR", "nearest_image": ["s/a", ""],
        "nearest_country": ["FR", ""], "bits": [3, np.nan], "mirrored": "False",
        "other_country_bits": np.nan, "nearest_place": "", "meters": np.nan,
    })  # fmt: skip

    def mistakes(table):
        found = results.leakage_mistakes(table, train, packed)
        return {what: wrong.tolist() for what, wrong in found.items() if wrong.any()}

    assert set(mistakes(table)) == {
        "nearest_image is not a training image",
        "bits are not a number of bits",
    }
    monkeypatch.setattr(leakage, "ALL_PAIRS", 0)
    assert mistakes(table) == {}
    table.loc[1, "bits"] = 3
    assert mistakes(table)["nearest_image is not a training image"] == [False, True]
