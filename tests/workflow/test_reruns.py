"""What a change of the configuration makes again, and what a run takes of its machine."""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.processes import snakemake
from tests.tiny_study import tiny_study
from tests.workflow.test_workflow import make_workdir, planned_jobs, run_snakemake

QUARANTINE = "results/tiny/quarantine.csv"
IMAGES = "results/tiny/images"
TINY = tiny_study("tiny") | {"index": {"min_images": 5, "split": [0.6, 0.2, 0.2]}}
TINY["sources"]["fetched"] = {
    "kind": "country_folders",
    "path": "resources/fetched",
    "images": "images",
    "size": 640,
    "retrieve": {"archive": "fetched.zip"},
}


def draw_country(folder: Path, count: int = 6) -> None:
    """A country folder of small photographs."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (48, 32), (30 * number, 80, 120)).save(folder / f"{number}.jpg")


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """A run that has retrieved its second source, listed and packed its images: one shard of each
    of France, Namibia and Japan, and one of the test set."""
    folder = make_workdir(tmp_path_factory.mktemp("packed"))
    draw_country(folder / "world/France")
    draw_country(folder / "world/Namibia")
    draw_country(folder / "fetched/images/Japan")
    shutil.make_archive(str(folder / "fetched"), "zip", folder / "fetched")
    draw_country(folder / "bench", 1)
    (folder / "bench/t.csv").write_text("file,latitude,longitude\n0.jpg,48.8,2.3\n")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    run_snakemake(folder, "--configfile", "tiny.yaml", "--", QUARANTINE)
    return folder


@pytest.fixture
def tiny(packed, tmp_path) -> tuple[Path, dict]:
    """A copy of that run and of its configuration, to be changed by one test."""
    folder = tmp_path / "tiny"
    shutil.copytree(packed, folder, symlinks=True)
    return folder, copy.deepcopy(TINY)


def call(folder: Path, config: dict, *arguments: str) -> str:
    (folder / "changed.yaml").write_text(yaml.safe_dump(config))
    return run_snakemake(folder, "--configfile", "changed.yaml", *arguments)


def replan(folder: Path, config: dict) -> dict:
    return planned_jobs(call(folder, config, "-n", "--", QUARANTINE))


def index_and_replan(folder: Path, config: dict) -> dict:
    """What is to be done after a new index."""
    call(folder, config, "--", "results/tiny/index/shards.csv")
    return replan(folder, config)


def test_an_unchanged_configuration_prepares_nothing(tiny):
    assert replan(*tiny) == {}


def test_after_a_kill_the_next_call_says_whose_lock_is_left_and_what_to_type(tiny):
    folder, config = tiny
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config | {"seed": 7}))
    command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--", QUARANTINE]
    running = folder / ".snakemake/tiny.running"
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as process:
        while not running.exists() and process.poll() is None:
            time.sleep(0.05)
        process.kill()
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (told,) = [line for line in result.stderr.splitlines() if line.startswith("process ")]
    assert told.startswith(f"process {process.pid} on ")
    assert "was killed, so that its lock is left" in told
    assert "type `snakemake --unlock` and run again" in told
    assert "process " not in run_snakemake(folder, "--unlock")
    assert call(folder, config | {"seed": 7}, "--", QUARANTINE)
    assert not running.exists()


def test_another_source_prepares_its_own_shards_only(tiny):
    folder, config = tiny
    draw_country(folder / "more/Iceland")
    more = {"kind": "country_folders", "path": "more", "crop": "center", "size": 640}
    config["sources"]["another"] = more
    assert index_and_replan(folder, config) == {"prepare": 1, "collect_quarantine": 1}


def test_the_same_data_in_another_folder_are_not_prepared_again(tiny):
    folder, config = tiny
    (folder / "world").rename(folder / "moved")
    config["sources"]["geoguessr"]["path"] = "moved"
    assert index_and_replan(folder, config) == {}


@pytest.mark.parametrize(
    ("section", "name", "change", "shard"),
    [
        ("sources", "fetched", {"crop": "center"}, "street/JP"),
        ("test_sets", "im2gps3k", {"size": 20}, "im2gps3k/FR"),
    ],
    ids=["crop", "size"],
)
def test_another_crop_or_size_prepares_the_shards_of_its_source_only(
    tiny, section, name, change, shard
):
    folder, config = tiny
    config[section][name] |= change
    assert replan(folder, config) == {"prepare": 1, "collect_quarantine": 1}
    output = call(folder, config, "-n", "--", f"{IMAGES}/{shard}/0000.h5")
    assert planned_jobs(output) == {"prepare": 1}
    assert planned_jobs(call(folder, config, "-n", "--", f"{IMAGES}/street/FR/0000.h5")) == {}


def test_a_deleted_shard_is_made_again_for_its_list_and_a_changed_one_is_listed_again(tiny):
    folder, config = tiny
    listed = "results/tiny/lists/arrays/images/street.csv"
    complete = "results/tiny/lists/arrays/images/street.complete"

    def plan() -> dict:
        return planned_jobs(call(folder, config, "-n", "--", complete))

    assert plan() == {"pack_images": 3, "list_shards": 1}
    call(folder, config, "--", complete)
    before = (folder / listed).read_bytes()
    assert plan() == {}
    shard = folder / "results/tiny/arrays/images/street/FR/0000.h5"
    shutil.copyfile(shard.parents[1] / "JP/0000.h5", shard)
    assert plan() == {"list_shards": 1}
    call(folder, config, "--", complete)
    assert (folder / listed).read_bytes() != before
    shard.unlink()
    assert plan() == {"pack_images": 1, "list_shards": 1}


def test_what_changes_no_image_and_no_place_reruns_nothing(tiny):
    folder, config = tiny
    config["test_sets"]["im2gps3k"] |= {
        "title": "Another",
        "retrieve": {"page": "https://example.org", "gigabytes": 1},
    }
    config["sources"]["fetched"]["retrieve"] = {"archive": "gone.zip", "gigabytes": 2}
    assert replan(folder, config) == {}


def test_another_limit_of_pixels_prepares_only_shards_whose_quarantine_is_deleted(tiny):
    folder, config = tiny
    config["prepare"] = {"max_megapixels": 0.001}
    assert replan(folder, config) == {}
    for name in ("quarantine.csv", "quarantine/street/FR/0000.csv"):
        (folder / "results/tiny" / name).unlink()
    assert replan(folder, config) == {"prepare": 1, "collect_quarantine": 1}


def test_another_author_column_makes_a_new_index_and_the_same_images(tiny):
    folder, config = tiny
    (folder / "bench/t.csv").write_text("file,latitude,longitude,who\n0.jpg,48.8,2.3,me\n")
    config["test_sets"]["im2gps3k"]["author_column"] = "who"
    assert replan(folder, config)["index"] == 1
    assert index_and_replan(folder, config) == {"collect_quarantine": 1}


def test_a_retrieved_folder_is_never_retrieved_again(tiny):
    folder, config = tiny
    (folder / "fetched.zip").unlink()
    images = folder / "resources/fetched/images"
    images.rename(images.with_name("renamed"))
    config["sources"]["fetched"] |= {"images": "renamed", "retrieve": {"kaggle": "a/b"}}
    assert "retrieve_source" not in replan(folder, config)
    call(folder, config, "--forceall", "--", "results/tiny/index/shards.csv")
    assert len(list(images.with_name("renamed").rglob("*.jpg"))) == 6


def test_a_source_that_was_deleted_with_the_results_is_listed_once(tiny):
    folder, config = tiny
    shutil.rmtree(folder / "results/tiny")
    shutil.rmtree(folder / "resources/fetched")
    assert "Retrieving fetched" in call(folder, config, "--", QUARANTINE)
    assert replan(folder, config) == {}


def start(folder: Path, *arguments: str, path: str | None = None) -> tuple[int, str]:
    """Run Snakemake, which may fail; its exit status and what it says."""
    environment = os.environ | {"PATH": path or os.environ["PATH"]}
    result = snakemake(folder, *arguments, environment=environment)
    return result.returncode, result.stdout + result.stderr


def test_half_a_file_of_weights_stops_the_runs_that_use_it(tmp_path):
    folder = make_workdir(tmp_path)
    weights = folder / "resources/weights"
    weights.mkdir(parents=True)
    (weights / "sam_vit_b_01ec64.pth").write_bytes(b"half")
    assert start(folder, "-n")[0] == 0
    (weights / "resnet50-0676ba61.pth").write_bytes(b"half")
    status, output = start(folder, "-n")
    assert status == 1
    assert "resnet50-0676ba61.pth has 4 bytes, expected 102530333; delete it" in output
    assert start(folder, "-n", "--configfile", "config/demo.yaml")[0] == 0


def one_shard_to_segment(folder: Path, config: dict) -> str:
    """A run in which only the shard FR/0000 is left to be segmented; the path of its segments."""
    for name, text in {
        "index/shards.csv": "collection,country,shard,images,sources\nstreet,FR,0000,1,\n",
        "index/shards/street/FR/0000.csv": "",
        "quarantine/street/FR/0000.csv": "",
        "images/street/FR/0000.h5": "",
    }.items():
        path = folder / "results/one" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "one.yaml").write_text(yaml.safe_dump(config | {"run": "one"}))
    return "results/one/segments/sam/FR/0000.h5"


def segmentation(weights: str) -> dict:
    """The demo's SAM with some weights."""
    classifier = {"kind": "efficientnet_lite0", "weights": None}
    return {"sam": {"model": "demo", "weights": weights, "classifier": classifier}}


def test_other_weights_than_those_of_their_name_are_not_segmented_with(tmp_path):
    folder = make_workdir(tmp_path)
    expected = yaml.safe_load((folder / "config/weights.yaml").read_text())["sam_vit_b_01ec64.pth"]
    path = folder / "resources/weights/sam_vit_b_01ec64.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(expected["size"]))  # of the right size
    entries = segmentation("resources/weights/sam_vit_b_01ec64.pth")
    target = one_shard_to_segment(folder, {"segmentations": entries})
    status, _ = start(folder, "--configfile", "one.yaml", "--", target)
    assert status == 1
    log = (folder / "results/one/logs/segment/sam/FR/0000.log").read_text()
    (line,) = (line for line in log.splitlines() if " INFO " not in line)
    assert "resources/weights/sam_vit_b_01ec64.pth has the sha256" in line
    assert f"expected {expected['sha256']}; delete it" in line


def program(folder: Path, name: str, text: str) -> str:
    """A PATH on which `name` is a shell script of this text."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_jobs_of_a_workstation_take_its_gpu_in_turn(tiny):
    folder, _ = tiny
    path = program(folder / "bin", "nvidia-smi", "exit 0")

    def gpus(*arguments: str, path: str | None = None) -> list[str]:
        again = ("--configfile", "tiny.yaml", "--forcerun", "collect_quarantine", *arguments)
        _, output = start(folder, *again, "--", QUARANTINE, path=path)
        return re.findall(r"Provided resources: gpu=\D*(\d+)", output)

    assert gpus(path=path) == ["1"]
    assert gpus("--resources", "gpu=3", path=path) == ["3"]
    if not shutil.which("nvidia-smi"):
        assert gpus() == []


def test_jobs_on_a_cluster_get_the_threads_and_gpus_that_they_ask_for(tmp_path):
    folder = make_workdir(tmp_path)
    config = {"segmentations": segmentation("demo/sam.safetensors"), "threads": {"segment": 999}}
    target = one_shard_to_segment(folder, config)
    for name in ("nvidia-smi", "sacct"):  # Snakemake asks sacct for the account
        program(folder / "bin", name, "exit 0")
    path = program(folder / "bin", "sbatch", f"echo \"$@\" > '{folder}/submitted'; exit 1")
    slurm = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1")
    slurm += ("--retries", "0", "--configfile", "one.yaml", "--", target)
    _, output = start(folder, *slurm, path=path)
    assert "Provided resources" not in output
    submitted = (folder / "submitted").read_text()
    assert re.search(r"--cpus-per-task=999 .*--gpus=1 .*--cores 'all'", submitted)
