"""The workflow as its users call it: real Snakemake runs on a small world."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml

from geoloc.evaluation.study import COUNTRIES
from geoloc.evaluation.table1 import published
from geoloc.stores import read_images
from tests.conftest import ROOT
from tests.corpus.test_exif_folder import gps, photograph
from tests.corpus.test_metadata_table import metadata
from tests.job_packages import FROM_OUTSIDE, distributions, environments, packages_used
from tests.planning import planned
from tests.processes import snakemake
from tests.test_files import small_disk  # noqa: F401
from tests.workflow.test_environments import ENVIRONMENTS, key, lock

LINKED = (
    "Snakefile", "missing.smk", "Makefile", "rules", "scripts", "envs", "profiles", "report", "demo"
)  # fmt: skip
SMALL = {
    "run": "small",
    "demo": {"images_per_country": 10, "test_set_images": 8, "countries": 6},
    "index": {
        "min_images": 7,
        "shard_size": 50,
        "max_rejected": 0.3,
        "split": [0.7, 0.15, 0.15],
    },
    "prepare": {"max_unreadable": 0.3},
    "scores": {"objects": {"classes": "config/small_classes.txt"}},
    "segmentations": {"sam": {"points_per_side": 5}},
    "train": {"epochs": 1},
    "explain": {"images": 4, "steps": 2, "checked_images": 2, "points": 2},
}


def make_workdir(folder: Path) -> Path:
    """A checkout with nothing in it but the project, as a fresh clone is, and a class list for
    `SMALL`."""
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copy(ROOT / "demo/selected_classes.txt", folder / "config/small_classes.txt")
    return folder


def run_snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake and return what it says; its failure is the test's."""
    result = snakemake(folder, *arguments)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-8000:]
    return result.stdout + result.stderr


def planned_jobs(output: str) -> Counter:
    """Jobs by rule, from the table of a dry run; empty where nothing is to be done."""
    table = output.partition("Job stats:")[2].partition("total")[0]
    return Counter({rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)})


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, Path]:
    """A finished run on a small world, and its configuration."""
    folder = make_workdir(tmp_path_factory.mktemp("world"))
    config = folder / "small.yaml"
    config.write_text(yaml.safe_dump(SMALL))
    run_snakemake(folder, "--configfile", "config/demo.yaml", str(config))
    return folder, config


# What follows from other predictions, and from other arrays of street images. 6 countries are kept.
REPORTS = {"run_record": 1, "report": 1}
AFTER_PREDICTIONS = {"table1": 1, "metrics": 1, "by_country": 1, "answers": 1, "accuracy_figure": 1}
AFTER_PREDICTIONS |= REPORTS | {"all": 1}
AFTER_EXPLANATIONS = {"explanations": 1, "explanation_examples": 3}
AFTER_TRAINING = {"train": 6, "predict": 6, "training_curves": 1} | AFTER_PREDICTIONS
AFTER_TRAINING |= {"explain": 6} | AFTER_EXPLANATIONS
# Of score maps and whatever shows them: models of Original are tested on weighted images, too.
AFTER_SCORES = {"train": 4, "predict": 6, "predict_clip": 1, "score_examples": 1}
AFTER_SCORES |= {"describe_segments": 1, "found": 1, "list_shards": 2}
AFTER_SCORES |= {"pack_scores": 6, "training_curves": 1} | AFTER_PREDICTIONS
AFTER_SCORES |= {"explain": 6, "explain_clip": 1} | AFTER_EXPLANATIONS
AFTER_IMAGES = AFTER_SCORES | {"train": 6, "train_clip": 1, "list_shards": 7}


@pytest.fixture
def copied(world, tmp_path) -> tuple[Path, Path]:
    """A copy of the world in another folder, to be changed by one test."""
    folder = tmp_path / "copied"
    shutil.copytree(world[0], folder, symlinks=True)
    return folder, folder / world[1].name


def plan_missing(folder: Path) -> Counter:
    """What `geoloc missing` would build."""
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": "scripts"}
    options = ["-n", "--nocolor", "--configfile", "config/demo.yaml", "small.yaml"]
    result = subprocess.run(
        [sys.executable, "-m", "geoloc", "missing", "--", *options],
        cwd=folder, capture_output=True, text=True, env=os.environ | path, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return planned_jobs(result.stdout + result.stderr)


def replan(world: tuple[Path, Path], **changes: dict) -> Counter:
    """What would be done after a change of the configuration."""
    folder, _ = world
    changed = folder / "changed.yaml"
    changed.write_text(yaml.safe_dump(SMALL | changes))
    demo = ("--configfile", "config/demo.yaml", str(changed))
    return planned_jobs(run_snakemake(folder, "-n", *demo))


def test_the_study_can_be_planned_without_any_data(tmp_path):
    jobs = planned_jobs(run_snakemake(make_workdir(tmp_path), "-n"))
    assert jobs["retrieve_source"] == 3
    assert jobs["retrieve_weights"] == 3
    assert jobs["retrieve_model"] == 1
    assert jobs["train"] == jobs["predict"] == jobs["explain"] == 6
    assert jobs["explain_clip"] == 1
    assert jobs["table1"] == jobs["table1_comparison"] == 1
    assert jobs["answers"] == jobs["published_distances"] == 1


def test_a_source_anywhere_may_have_its_archive_beside_it(tmp_path):
    (tmp_path / "project").mkdir()
    folder = make_workdir(tmp_path / "project")
    elsewhere = tmp_path / "data [1]" / "mine"
    (elsewhere / "France").mkdir(parents=True)
    (elsewhere / "France/a.jpg").write_bytes(b"no picture")
    shutil.make_archive(str(elsewhere), "zip", elsewhere)
    shutil.rmtree(elsewhere)
    mine = {"kind": "country_folders", "path": str(elsewhere)}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"test_sets": {"mine": mine}}))
    run_snakemake(folder, "--cores", "1", "--configfile", "mine.yaml", "--", str(elsewhere))
    assert (elsewhere / "France/a.jpg").exists()


def test_an_archive_where_nothing_can_be_written_is_not_unpacked_there(small_disk, tmp_path):  # noqa: F811
    (tmp_path / "project").mkdir()
    folder = make_workdir(tmp_path / "project")
    (small_disk / "mine.zip").write_bytes(b"PK")
    mine = {"kind": "country_folders", "path": str(small_disk / "mine")}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"test_sets": {"mine": mine}}))
    plan = ("-n", "--configfile", "mine.yaml")
    assert planned_jobs(run_snakemake(folder, *plan))["retrieve_folder"] == 1
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    result = snakemake(folder, *plan)
    assert result.returncode == 1
    told = result.stdout + result.stderr
    assert f"missing: test_sets.mine.path: {small_disk}/mine does not exist" in told
    assert f"because {small_disk} can't be written to; unpack its images there yourself" in told
    assert "Traceback" not in told


def test_paths_that_nothing_makes_are_named_with_their_key_before_snakemake_stops(tmp_path):
    folder = make_workdir(tmp_path)
    assert "missing: " not in run_snakemake(folder, "-n")  # of the study
    changes = {
        "test_sets": {"mine": {"kind": "exif_folder", "path": "nowhere"}},
        "models": {"clip": {"path": "no/clip"}},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(changes))
    result = snakemake(folder, "-n", "--configfile", "mine.yaml")
    assert result.returncode == 1
    told = result.stdout + result.stderr
    assert "missing: test_sets.mine.path: nowhere does not exist; put it there or correct" in told
    assert "missing: models.clip.path: no/clip does not exist" in told
    assert told.count("missing: ") == 2


@pytest.mark.parametrize("name", ["a b", "it's", "a$b", "a[b", "a{b"])
def test_a_folder_from_which_snakemake_starts_no_jobs_is_refused_before_the_install(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    for file in ("Makefile", "pyproject.toml", "envs"):
        (folder / file).symlink_to(ROOT / file)
    command = ["make", "setup", "PYTHON=/bin/false"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "move or rename it, then run make setup" in result.stdout
    assert "not Python 3.11" not in result.stdout


def test_jobs_run_in_a_project_with_odd_names_but_not_by_a_python_there(tmp_path):
    folder = tmp_path / "it's a [1] *"
    folder.mkdir()
    make_workdir(folder)
    assert "retrieve_source" in run_snakemake(folder, "-n")
    (folder / "python").symlink_to(sys.executable)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    result = subprocess.run(
        [str(folder / "python"), "-m", "snakemake", "-n"],
        cwd=folder, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert result.returncode == 1
    assert "Snakemake can't start jobs from a path with spaces" in result.stdout + result.stderr


def test_without_built_images_a_run_in_containers_is_not_planned(tmp_path):
    folder = make_workdir(tmp_path)
    result = snakemake(folder, "-n", "--sdm", "apptainer")
    assert result.returncode == 1
    told = result.stdout + result.stderr
    assert "images are missing: containers/geo.sif, containers/torch.sif" in told
    assert "build them with `make containers`" in told


def test_a_contrastive_model_of_the_study_is_trained_beside_the_given_clip(tmp_path):
    folder = make_workdir(tmp_path)
    (folder / "contrastive.yaml").write_text("models: {contrastive: {kind: contrastive}}")
    output = run_snakemake(folder, "-n", "--configfile", "contrastive.yaml")
    jobs = planned_jobs(output)
    assert (jobs["train_clip"], jobs["predict_clip"], jobs["retrieve_model"]) == (3, 4, 1)
    for dataset in ("original", "weighted_base", "weighted_custom"):
        assert f"results/study/predictions/contrastive/{dataset}/42.parquet" in output


def test_a_damaged_file_fails_its_job_with_one_message_and_no_traceback(tmp_path):
    folder = make_workdir(tmp_path)
    shard = "im2gps3k/FR/0000"
    for file, content in {
        "index/shards.csv": b"collection,country,shard,images,sources\nim2gps3k,FR,0000,1,\n",
        f"index/shards/{shard}.csv": b"",
        f"quarantine/{shard}.csv": b"",
        f"images/{shard}.h5": b"\x89HDF\r\n\x1a\n, cut off",
    }.items():
        path = folder / "results/demo" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    target = f"results/demo/arrays/images/{shard}.h5"
    result = snakemake(folder, "--configfile", "config/demo.yaml", "--", target)
    assert result.returncode == 1
    log = (folder / f"results/demo/logs/pack_images/{shard}.log").read_text()
    assert "images/im2gps3k/FR/0000.h5 is damaged: HDF5 cannot read it" in log
    assert len(log.splitlines()) == 1
    console = result.stdout + result.stderr
    assert log.strip() in console
    assert f"log: results/demo/logs/pack_images/{shard}.log" in console
    assert "Traceback" not in console
    assert not (folder / f"results/demo/arrays/images/{shard}.h5").exists()


def test_a_run_that_starts_on_a_full_disk_ends_in_one_line(small_disk, tmp_path):  # noqa: F811
    (tmp_path / "project").mkdir()
    folder = make_workdir(tmp_path / "project")
    (folder / "results").symlink_to(small_disk)
    (small_disk / "demo").mkdir()
    with (small_disk / "fill").open("wb") as file, contextlib.suppress(OSError):
        file.write(bytes(2 << 20))
    result = snakemake(folder, "--configfile", "config/demo.yaml", "--until", "make_demo_data")
    assert result.returncode == 1
    console = result.stdout + result.stderr
    assert "no room left on the disk" in console
    assert "make room and run again: 'results/demo/config.yaml'" in console
    assert "atomic_path" not in console  # a stack
    assert not (folder / "resources").exists()


def test_without_room_for_snakemakes_records_a_run_ends_in_one_line(small_disk, tmp_path):  # noqa: F811
    (tmp_path / "project").mkdir()
    folder = make_workdir(tmp_path / "project")
    (folder / ".snakemake").symlink_to(small_disk)
    with (small_disk / "fill").open("wb") as file, contextlib.suppress(OSError):
        file.write(bytes(2 << 20))
    demo = ("--configfile", "config/demo.yaml")
    result = snakemake(folder, *demo)
    assert result.returncode == 1
    console = result.stdout + result.stderr
    assert f"less than 20 MB are free for {folder}/.snakemake" in console
    assert "Traceback" not in console
    assert "Logging error" not in console
    run_snakemake(folder, "--unlock", *demo)


def test_more_test_sets_are_planned_by_configuration_alone(tmp_path):
    folder = make_workdir(tmp_path)
    jobs = planned_jobs(run_snakemake(folder, "-n", "--configfile", "config/test_sets.yaml"))
    assert jobs["retrieve_source"] == 5
    assert (jobs["predict"], jobs["table1"], jobs["metrics"]) == (6, 1, 1)


# A function of users that lists the images of a folder.
LISTING_CODE = """
class Source:
    def images(self, folder):
        return ((path.name, "Japan") for path in sorted(folder.iterdir()))

def load():
    return Source()
"""


def test_all_kinds_of_sources_and_several_test_sets_reach_the_packed_images(tmp_path):
    """Photographs with GPS, a zip archive, code of the user and two test sets, placed by the
    borders, in a folder of whose name Snakemake would replace two parts."""
    folder = make_workdir(tmp_path)
    top = "a{b}c [x]* <y>"
    data = folder / top
    for number in range(6):
        paris = gps((48, 51, number), (2, 21, 3))
        photograph(data / f"photos/trip 'é'/{number}.jpg", paris, (32, 24))
        photograph(data / f"mine/{number}.jpg", None, (24, 32))
    rows = [[str(number), "-22.56", "17.08"] for number in range(6)]
    archive = metadata(data / "osv5m", rows).folder / "00.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(6):
            file.write(data / f"photos/trip 'é'/{number}.jpg", f"00/{number}.jpg")
    table = {"kind": "metadata_table", "path": f"{top}/osv5m", "images": "images",
             "table": "table.csv"}  # fmt: skip
    photos = {"kind": "exif_folder", "path": f"{top}/photos"}
    (data / "{list}.py").write_text(LISTING_CODE)
    mine = {"kind": "python", "path": f"{top}/mine", "file": f"{top}/{{list}}.py"}
    for name in ("osv5m", "photos"):  # sources may not share files
        shutil.copytree(data / name, data / f"{name}_test")
    config = {
        "run": "kinds",
        "sources": {"geoguessr": None, "streetview": None, "osv5m": table | {"size": 640},
                    "photos": photos | {"size": 640},
                    "mine": mine | {"size": 640, "crop": "center"}},
        "test_sets": {"im2gps3k": None, "first": table | {"path": f"{top}/osv5m_test"},
                      "second": photos | {"path": f"{top}/photos_test", "title": "Trip"}},
        "index": {"min_images": 5, "split": [0.6, 0.2, 0.2], "geocoder": "country_polygon"},
    }  # fmt: skip
    configured = data / "kinds.yaml"
    configured.write_text(yaml.safe_dump(config))
    target = ("--configfile", str(configured), "--", "results/kinds/quarantine.csv")
    run_snakemake(folder, *target)
    assert pd.read_csv(folder / "results/kinds/quarantine.csv").empty
    packed = {
        path.relative_to(folder / "results/kinds/images").as_posix(): len(list(read_images(path)))
        for path in (folder / "results/kinds/images").rglob("*.h5")
    }
    assert packed == {
        "street/FR/0000.h5": 6,
        "street/JP/0000.h5": 6,
        "street/NA/0000.h5": 6,
        "first/NA/0000.h5": 6,
        "second/FR/0000.h5": 6,
    }
    assert planned_jobs(run_snakemake(folder, "-n", *target)) == {}
    (data / "{list}.py").write_text(LISTING_CODE + "# changed")
    assert planned_jobs(run_snakemake(folder, "-n", *target))["index"] == 1


def test_every_configured_path_may_have_braces_but_the_target_of_an_archive(tmp_path):
    folder = make_workdir(tmp_path)
    top = "a{b}c [x]* <y>"
    files = ("sam.pth", "crops.pth", "classes.txt", "segmenter.py", "curve.py", "network.py",
             "model.py", "gallery.csv", "backbone.h5")  # fmt: skip
    for name in ("clip", "geoclip", "world/France"):
        (folder / top / name).mkdir(parents=True)
    at = {Path(name).stem: f"{top}/{name}" for name in (*files, "clip", "geoclip", "world")}
    for name in files:
        (folder / top / name).write_text("tench\n")
    crops = {"kind": "resnet50", "weights": at["crops"]}
    config = {
        "run": "braces",
        "sources": {
            "geoguessr": {"path": at["world"], "images": ".", "retrieve": None},
            "streetview": None,
        },
        "test_sets": {"im2gps3k": None},
        "segmentations": {
            "sam": {"weights": at["sam"], "classifier": crops},
            "mine": {"kind": "python", "file": at["segmenter"], "classes": at["classes"]},
        },
        "scores": {
            "objects": {"classes": at["classes"]},
            "mine": {"segmentation": "mine", "classes": at["classes"]},
        },
        "datasets": {
            "soft": {"scores": "mine", "curve": "python", "file": at["curve"]},
            "hard": {"scores": "objects", "curve": "linear"},
        },
        "models": {
            "cnn": {"title": "CNN {x}"},
            "transfer": {"weights": at["backbone"]},
            "clip": {"path": at["clip"], "title": "CLIP {country}"},
            "small": {"kind": "contrastive", "title": "Small {y}"},
            "geoclip": {"kind": "geoclip", "path": at["geoclip"], "gallery": at["gallery"]},
            "net": {"kind": "keras", "file": at["network"]},
            "own": {"kind": "python", "file": at["model"]},
        },
    }
    inputs = {
        os.path.realpath(folder / path): path
        for jobs in planned(folder, config).values()
        for job in jobs
        for path in map(str, job.input)
    }
    assert {os.path.realpath(folder / path) for path in at.values()} <= set(inputs)
    assert not [path for path in inputs.values() if set("{}<>") & set(path)]

    (folder / top / "world").rename(folder / top / "moved")
    shutil.make_archive(str(folder / top / "world"), "zip", folder / top / "moved")
    result = snakemake(folder, "-n", "--configfile", "planned.yaml")
    assert result.returncode == 1
    told = result.stdout + result.stderr
    assert f"missing: sources.geoguessr.path: {at['world']} does not exist" in told
    assert f"{at['world']} can't be the target of a download or an archive" in told


def test_a_file_of_one_shard_can_be_asked_for_before_the_index_exists(tmp_path):
    folder = make_workdir(tmp_path)
    for number in range(6):
        for country in ("France", "Namibia"):
            photograph(folder / f"world/{country}/{number}.jpg", None, (24, 32))
    source = {"path": "world", "images": ".", "retrieve": None}
    config = {
        "run": "one",
        "sources": {"geoguessr": source, "streetview": None},
        "test_sets": {"im2gps3k": None},
        "index": {"min_images": 5, "split": [0.6, 0.2, 0.2]},
    }
    (folder / "one.yaml").write_text(yaml.safe_dump(config))
    shard = "results/one/arrays/images/street/{}/0000.h5"
    target = ("--configfile", "one.yaml", "--")
    jobs = planned_jobs(run_snakemake(folder, "-n", *target, shard.format("FR")))
    assert jobs == {"index": 1, "prepare": 1, "pack_images": 1}
    run_snakemake(folder, *target, shard.format("FR"))
    assert (folder / shard.format("FR")).exists()
    result = snakemake(folder, "-n", *target, shard.format("IT"))
    assert result.returncode == 1
    told = "there is no shard street/IT/0000; results/one/index/shards.csv lists them"
    assert told in result.stdout + result.stderr


def refused(folder: Path, sources: dict, *arguments: str) -> str:
    """What Snakemake says to sources that it refuses to plan."""
    unset = {"geoguessr": None, "streetview": None}
    (folder / "refused.yaml").write_text(yaml.safe_dump({"sources": unset | sources}))
    result = snakemake(folder, "-n", "--configfile", "refused.yaml", *arguments)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    return result.stdout + result.stderr


def test_sources_that_share_files_and_street_images_without_size_are_not_planned(tmp_path):
    folder = make_workdir(tmp_path)
    (folder / "world/France").mkdir(parents=True)
    entry = {"kind": "country_folders", "path": "world", "size": 640}
    output = refused(folder, {"a": entry, "b": entry | {"path": "./world/"}})
    assert "sources.a and sources.b share files" in output
    output = refused(folder, {"mine": {"kind": "country_folders", "path": "world"}})
    assert "sources.mine.size: must be 640, the size of the masks, got null" in output


def test_links_to_themselves_and_fifos_are_planned_past_and_named(tmp_path):
    folder = make_workdir(tmp_path)
    for country in ("France", "Japan"):
        (folder / "world" / country).mkdir(parents=True)
        for number in range(3):
            (folder / f"world/{country}/{number}.jpg").touch()
    (folder / "world/France/circle.jpg").symlink_to("circle.jpg")
    (folder / "world/circle").symlink_to("circle")
    os.mkfifo(folder / "world/France/pipe.jpg")
    (folder / "world/Japan/zero.png").symlink_to("/dev/zero")
    config = {
        "run": "links",
        "sources": {
            "streetview": None,
            "geoguessr": {"path": "world", "images": ".", "retrieve": None},
        },
        "test_sets": {"im2gps3k": None},
        "index": {"min_images": 3, "split": [0.34, 0.34, 0.32], "max_rejected": 0.5},
    }
    (folder / "links.yaml").write_text(yaml.safe_dump(config))
    target = ("--configfile", "links.yaml", "--", "results/links/index/rejected.csv")
    assert planned_jobs(run_snakemake(folder, "-n", *target)) == {"index": 1}
    run_snakemake(folder, *target)
    rejected = pd.read_csv(folder / "results/links/index/rejected.csv")
    assert dict(zip(rejected.path, rejected.reason, strict=True)) == {
        "France/circle.jpg": "a link to itself",
        "France/pipe.jpg": "a FIFO, not a file",
        "Japan/zero.png": "a device, not a file",
    }
    listing = pd.read_csv(folder / "results/links/index/listing.csv")
    assert dict(zip(listing.kind, listing.files, strict=True)) == {
        "broken link": 2,
        "special file": 2,
        "read": 6,
    }


def test_table_1_has_its_form(world):
    table = pd.read_csv(world[0] / "results/small/table1.csv", dtype=str)
    assert list(table.columns) == [
        "Model", "Trained On", "Original Test Accuracy", "Weighted Base Test Accuracy",
        "Weighted Custom Test Accuracy", "Im2GPS-3k-modified Accuracy",
    ]  # fmt: skip
    datasets = ["Original", "Weighted Base", "Weighted Custom"]
    assert table["Trained On"].tolist() == [*datasets, *datasets, "Default"]
    assert table.iloc[:, 2:].map(lambda cell: bool(re.fullmatch(r"\d+\.\d\d", cell))).all(axis=None)


def test_a_finished_run_is_found_whole(world):
    command = [
        sys.executable,
        "-m",
        "geoloc",
        "verify",
        str(world[0] / "results/small"),
        "--digests",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 wrong, 0 of 29 checks not made" in result.stdout


# Packages that others import if they are installed, and do without otherwise.
OPTIONAL = {"huggingface-hub", "opt-einsum", "optree", "psutil", "tabulate", "wcwidth"}


def test_jobs_import_what_is_in_their_images(world):
    locks = {name: set(lock(name)) | OPTIONAL | FROM_OUTSIDE for name in ENVIRONMENTS}
    of_logs, logs = environments(), world[0] / "results/small/logs"
    checked = 0
    for log in logs.rglob("*.log"):
        images = [locks[name] for name in of_logs[log.relative_to(logs).with_suffix("").parts[0]]]
        for package in set().union(*packages_used(log).values()):
            installed = {key(name) for name in distributions(package)}
            assert any(installed & image for image in images), (log, package)
            checked += 1
    assert checked > 500


def test_the_table_of_a_drawn_world_is_not_compared_with_the_published_one(world):
    assert not (world[0] / "results/small/table1_comparison.csv").exists()


def compared(folder: Path, table: pd.DataFrame, *options: str, countries=COUNTRIES) -> pd.DataFrame:
    """What the workflow finds next to the published table, given Table 1 and its classes."""
    index = folder / "results/study/index"
    for country in countries:
        (index / "shards/street" / country).mkdir(parents=True)
        (index / "shards/street" / country / "0000.csv").touch()
    counts = {"images": 1, "train": 1, "val": 0, "test": 0, "kept": True}
    rows = [{"country": country, "name": country} | counts for country in countries]
    pd.DataFrame(rows).to_csv(index / "countries.csv", index=False)
    shard = {"collection": "street", "shard": "0000", "images": 1, "sources": "geoguessr"}
    rows = [shard | {"country": country} for country in countries]
    pd.DataFrame(rows).to_csv(index / "shards.csv", index=False)
    for name in ("images.parquet", "rejected.csv", "listing.csv"):
        (index / name).touch()
    table.to_csv(folder / "results/study/table1.csv", index=False)
    comparison = "results/study/table1_comparison.csv"
    allowed = ("--allowed-rules", "table1_comparison", "--rerun-triggers", "mtime")
    run_snakemake(folder, *options, *allowed, "--", comparison)
    return pd.read_csv(folder / comparison)


def test_the_table_of_the_study_is_compared_with_the_published_one(tmp_path):
    folder = make_workdir(tmp_path)
    table = published()
    table.loc[1, "Im2GPS-3k-modified Accuracy"] = "20.00"
    table.loc[6, "Original Test Accuracy"] = ""
    table.loc[len(table)] = ["Contrastive Model", "Original", "1.00", "1.00", "1.00", "1.00"]
    found = compared(folder, table)
    keys = ["Model", "Trained On", "Test Set"]
    assert list(found.columns) == [*keys, "Ours", "Published", "Difference"]
    assert len(found) == 27
    (different,) = found[found.Difference != 0].itertuples(index=False)
    assert different == (
        "Convolutional Neural Network", "Weighted Base", "Im2GPS-3k-modified Accuracy",
        20.0, 16.13, 3.87,
    )  # fmt: skip


def test_a_clip_of_ones_own_is_not_compared_with_streetclip_and_titles_drop_nothing(tmp_path):
    folder = make_workdir(tmp_path)
    models = {"cnn": {"title": "Small network"}, "clip": {"path": None, "title": "StreetCLIP"}}
    changes = {"models": models, "datasets": {"original": {"title": "Plain"}}}
    (folder / "own.yaml").write_text(yaml.safe_dump(changes))
    table = published().replace("Convolutional Neural Network", "Small network")
    table = table.replace("Original", "Plain")
    table = table.rename(columns={"Original Test Accuracy": "Plain Test Accuracy"})
    found = compared(folder, table, "--configfile", "own.yaml")
    expected = {"Convolutional Neural Network": 12, "Transfer Learning": 12}
    assert found["Model"].value_counts().to_dict() == expected


def test_numbers_of_other_countries_are_not_set_against_the_published_ones(tmp_path):
    folder = make_workdir(tmp_path)
    assert compared(folder, published(), countries=["FR", "JP", "NA"]).empty
    log = (folder / "results/study/logs/table1_comparison.log").read_text()
    assert "3 countries that are not the study's 73" in log


def test_other_sources_or_settings_plan_no_comparison(tmp_path):
    folder = make_workdir(tmp_path)
    (folder / "own.yaml").write_text("train: {epochs: 3}")
    jobs = planned_jobs(run_snakemake(folder, "-n", "--configfile", "own.yaml"))
    assert (jobs["table1"], jobs["table1_comparison"]) == (1, 0)


def test_metrics_have_intervals_over_the_authors_of_the_test_set(world):
    results = world[0] / "results/small"
    metrics = pd.read_csv(results / "metrics.csv").set_index("test_set")
    paired = pd.read_csv(results / "paired_tests.csv").set_index("test_set")
    for table, name in ((metrics, "accuracy_low_by_author"), (paired, "difference_low_by_author")):
        assert table[name]["im2gps3k"].notna().any()
        assert table[name]["original"].isna().all()


def test_what_cannot_be_read_is_in_quarantine_with_its_reason(world):
    quarantine = pd.read_csv(world[0] / "results/small/quarantine.csv")
    assert quarantine.reason.str.contains("damaged|empty|not a JPEG").sum() >= 3
    index = pd.read_parquet(world[0] / "results/small/index/images.parquet")
    assert "NA" in set(index.country)
    countries = pd.read_csv(world[0] / "results/small/index/countries.csv", keep_default_na=False)
    assert (~countries.kept).sum() >= 1


def test_a_finished_run_has_nothing_to_do(world):
    assert replan(world) == {}


def test_another_class_list_reruns_scores_and_not_segments(world):
    folder, _ = world
    path = folder / SMALL["scores"]["objects"]["classes"]
    before = path.read_text()
    path.write_text(before + "house\n")
    try:
        jobs = replan(world)
    finally:
        path.write_text(before)
    assert jobs == {"score": 6} | AFTER_SCORES


def test_another_minimum_of_the_score_reruns_scores_and_not_segments(world):
    objects = SMALL["scores"]["objects"] | {"minimum": 0.2}
    assert replan(world, scores={"objects": objects}) == {"score": 6} | AFTER_SCORES


def test_another_number_of_epochs_reruns_training_only(world):
    assert replan(world, train={"epochs": 2}) == AFTER_TRAINING


def test_an_edited_script_reruns_its_jobs_and_what_follows(copied):
    folder, _ = copied
    for name in ("rules", "scripts"):  # rules name scripts by their place beside them
        (folder / name).unlink()
        shutil.copytree(ROOT / name, folder / name)
    assert replan(copied) == {}
    with (folder / "scripts/score.py").open("a") as script:
        script.write("# edited\n")
    assert replan(copied) == {"score": 6} | AFTER_SCORES
    assert plan_missing(folder) == {}


def test_a_deleted_mask_is_made_again_when_it_is_missed_or_asked_for(copied):
    folder, config = copied
    mask = folder / "results/small/scores/objects/FR/0000.h5"
    mask.unlink()
    assert replan(copied) == {}  # all that is made of it is there
    assert plan_missing(folder) == {"score": 1, "list_shards": 1}
    demo = ("--configfile", "config/demo.yaml", str(config))
    asked = run_snakemake(folder, "-n", *demo, "--", str(mask.relative_to(folder)))
    assert planned_jobs(asked) == {"score": 1}


def test_a_deleted_model_is_trained_again_when_it_is_missed(copied):
    folder, _ = copied
    (folder / "results/small/models/cnn/original/42/model.keras").unlink()
    assert replan(copied) == {}  # its predictions are there
    assert plan_missing(folder) == {"train": 1}
    (folder / "results/small/predictions/cnn/original/42.parquet").unlink()
    assert plan_missing(folder) == {"train": 1, "predict": 1}


def test_a_new_country_makes_its_own_shard_and_all_models(copied):
    folder, config = copied
    country = folder / "resources/demo/geoguessr/compressed_dataset/Iceland"
    for number in range(6):  # with those it had too few before
        shutil.copy(next(country.glob("canvas_*.jpg")), country / f"canvas_9{number}.jpg")
    assert plan_missing(folder) == {}
    assert replan(copied)["index"] == 1
    index = "results/small/index/shards.csv"
    demo = ("--configfile", "config/demo.yaml", str(config))
    run_snakemake(folder, *demo, "--", index)
    # Two shards, as its photograph counts from now on.
    new = {"prepare": 2, "segment": 1, "score": 1, "collect_quarantine": 1, "check_leakage": 1}
    assert replan(copied) == new | AFTER_IMAGES | {"pack_images": 2, "pack_scores": 1}


def test_results_that_were_copied_beside_a_fresh_clone_are_used(world, tmp_path):
    clone = make_workdir(tmp_path)
    shutil.rmtree(clone / "config")
    shutil.copytree(ROOT / "config", clone / "config", copy_function=shutil.copyfile)
    shutil.copyfile(ROOT / "demo/selected_classes.txt", clone / "config/small_classes.txt")
    shutil.copy(world[1], clone)
    for name in ("results", "resources"):
        shutil.copytree(world[0] / name, clone / name)
    assert replan((clone, clone / "small.yaml")) == {"score": 6} | AFTER_SCORES
    assert plan_missing(clone) == {}


def test_a_contrastive_model_adds_its_rows_and_reruns_no_other(world):
    jobs = replan(world, models={"contrastive": {"kind": "contrastive", "epochs": 1}})
    own = {"train_clip": 3, "predict_clip": 3, "explain_clip": 3, "training_curves": 1}
    assert jobs == own | AFTER_PREDICTIONS | AFTER_EXPLANATIONS | {"explanation_examples": 4}


def test_a_dataset_that_is_added_plans_its_own_jobs_only(world):
    inverted = {"scores": "objects", "curve": "piecewise", "invert": True}
    jobs = replan(world, datasets={"inverted": inverted})
    own = {"train": 2, "predict": 2, "explain": 2, "training_curves": 1, "score_examples": 1}
    assert jobs == own | {"found": 1} | AFTER_PREDICTIONS | AFTER_EXPLANATIONS
    jobs = replan(world, datasets={"inverted": inverted | {"train": False}})
    assert jobs == {"score_examples": 1, "found": 1, "all": 1} | REPORTS


def test_a_column_that_is_added_is_predicted_by_every_model_and_trains_none_again(world):
    blurred = {"scores": "objects", "curve": "linear", "fill": "blur", "column": True}
    jobs = replan(world, datasets={"blurred": blurred | {"train": False}})
    expected = {"predict": 6, "predict_clip": 1, "score_examples": 1, "found": 1}
    assert jobs == expected | AFTER_PREDICTIONS


def test_other_parameters_of_eqn_1_train_the_models_of_their_dataset_only(world):
    jobs = replan(world, datasets={"weighted_custom": {"upper_score": 60}})
    expected = {"train": 2, "predict": 6, "predict_clip": 1, "training_curves": 1}
    expected |= {"score_examples": 1, "found": 1, "explain": 2}
    assert jobs == expected | AFTER_PREDICTIONS | AFTER_EXPLANATIONS


def test_a_second_class_list_is_scored_and_packed_beside_the_first(world):
    classes = world[0] / "signs.txt"
    classes.write_text("sign\n")
    jobs = replan(
        world,
        scores=SMALL["scores"] | {"signs": {"segmentation": "sam", "classes": "signs.txt"}},
        datasets={"signs": {"scores": "signs", "curve": "linear"}},
    )
    own = {"score": 6, "pack_scores": 6, "score_examples": 1, "train": 2, "predict": 2}
    own |= {"describe_segments": 1, "found": 1, "list_shards": 1}
    own |= {"training_curves": 1, "explain": 2}
    assert jobs == own | AFTER_PREDICTIONS | AFTER_EXPLANATIONS


def test_another_title_makes_tables_and_figures_only(world):
    tables = {"table1": 1, "answers": 1, "accuracy_figure": 1, "all": 1} | REPORTS
    figures = {"score_examples": 1, "training_curves": 1, "explanation_examples": 3}
    assert replan(world, datasets={"weighted_base": {"title": "Linear"}}) == tables | figures
    figures = {"training_curves": 1, "explanation_examples": 1}
    assert replan(world, models={"transfer": {"title": "Head"}}) == tables | figures
    assert replan(world, test_sets={"im2gps3k": {"title": "Flickr"}}) == tables


def test_a_segmentation_that_is_added_segments_for_itself_only_and_only_if_it_is_used(world):
    sections = {
        "segmentations": SMALL["segmentations"] | {"more": {"like": "sam", "points_per_side": 4}}
    }
    assert replan(world, **sections) == {}
    sam = SMALL["segmentations"]["sam"] | {"engine": {"image_batch": 2}}
    assert replan(world, segmentations={"sam": sam}) == {}
    classes = SMALL["scores"]["objects"]["classes"]
    sections["scores"] = SMALL["scores"] | {"more": {"segmentation": "more", "classes": classes}}
    assert replan(world, **sections) == {}
    jobs = replan(world, **sections, datasets={"more": {"scores": "more", "curve": "linear"}})
    own = {"segment": 6, "score": 6, "pack_scores": 6, "list_shards": 2, "train": 2, "predict": 2}
    own |= {"describe_segments": 1, "found": 1, "score_examples": 1, "training_curves": 1}
    assert jobs == own | {"explain": 2} | AFTER_PREDICTIONS | AFTER_EXPLANATIONS


def test_crops_are_cut_for_the_dataset_that_shows_them_only(world):
    jobs = replan(world, datasets={"crop": {"view": "object", "scores": "objects"}})
    own = {"pack_crops": 6, "list_shards": 1, "train": 2, "predict": 2, "training_curves": 1}
    assert jobs == own | {"explanation_examples": 3} | AFTER_PREDICTIONS


def test_keys_that_move_to_another_file_rerun_nothing(world):
    """Also with all defaults, as `geoloc config` prints them."""
    folder, config = world
    demo = ("--configfile", "config/demo.yaml", str(config))
    (folder / "more.yaml").write_text("segmentations: {sam: {points_per_side: 5, kind: sam}}")
    assert planned_jobs(run_snakemake(folder, "-n", *demo, "more.yaml")) == {}
    command = [sys.executable, "-m", "geoloc", "config", *demo]
    printed = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
    ).stdout  # fmt: skip
    (folder / "printed.yaml").write_text(printed)
    assert planned_jobs(run_snakemake(folder, "-n", "--configfile", "printed.yaml")) == {}


def test_other_settings_of_explanations_explain_again_and_change_nothing_else(world):
    jobs = replan(world, explain=SMALL["explain"] | {"points": 3})
    own = {"explain": 6, "explain_clip": 1, "all": 1}
    assert jobs == own | AFTER_EXPLANATIONS | REPORTS
    del own["explain_clip"]  # knows no integrated gradients
    jobs = replan(world, explain=SMALL["explain"] | {"steps": 3})
    assert jobs == own | AFTER_EXPLANATIONS | REPORTS
    jobs = replan(world, explain=SMALL["explain"] | {"random_labels": True})
    own |= {"explain_clip": 1, "train_random_labels": 6, "train_clip_random_labels": 1}
    assert jobs == own | AFTER_EXPLANATIONS | REPORTS
    assert replan(world, explain={"images": 0}) == {"all": 1} | REPORTS


def test_more_seeds_train_their_own_models_and_leave_the_first_alone(world):
    jobs = replan(world, seeds=[42, 7])
    expected = {"train": 6, "predict": 6, "train_clip": 1, "predict_clip": 1}
    expected |= {"training_curves": 1, "explain": 6, "explain_clip": 1}
    assert jobs == expected | AFTER_PREDICTIONS | AFTER_EXPLANATIONS


def test_a_removed_entry_makes_tables_and_figures_and_a_removed_column_predictions(world):
    tables = {"training_curves": 1} | AFTER_PREDICTIONS
    gone = {"explanations": 1, "explanation_examples": 2}
    assert replan(world, models={"transfer": None}) == tables | gone
    jobs = replan(world, datasets={"weighted_base": None})
    shown = {"predict": 4, "predict_clip": 1, "score_examples": 1, "found": 1}
    assert jobs == tables | shown


def test_a_removed_entry_leaves_its_files_and_disappears_from_the_tables(copied):
    folder, config = copied
    gone = {"models": {"clip": None, "transfer": None}}
    (folder / "gone.yaml").write_text(yaml.safe_dump(SMALL | gone))
    files = ("--configfile", "config/demo.yaml", str(config), "gone.yaml")
    run_snakemake(folder, *files, "--rerun-triggers", "mtime", "--forcerun", "table1", "--",
                  "results/small/table1.csv")  # fmt: skip
    table = pd.read_csv(folder / "results/small/table1.csv")
    assert set(table["Model"]) == {"Convolutional Neural Network"}
    assert (folder / "results/small/models/transfer/original/42/model.keras").exists()


def test_a_new_image_reruns_its_own_country_only(world):
    folder, config = world
    country = folder / "resources/demo/geoguessr/compressed_dataset/Japan"
    shutil.copy(next(country.glob("canvas_*.jpg")), country / "canvas_new.jpg")
    try:
        assert replan(world)["index"] == 1
        figure = (
            "results/small/figures/score_examples/objects.png"  # needs the masks of all countries
        )
        demo = ("--configfile", "config/demo.yaml", str(config))
        output = run_snakemake(folder, *demo, "--", figure)
        done = re.findall(r"(?:Preparing|Segmenting|of) (?:street |im2gps3k )?([A-Z]{2}) ", output)
        assert set(done) == {"JP"}
        index = pd.read_parquet(folder / "results/small/index/images.parquet")
        assert index.path.str.contains("canvas_new").sum() == 1
    finally:
        (country / "canvas_new.jpg").unlink()
