"""run.json: what a run was made with."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess

import pytest

from geoloc.errors import FileError
from geoloc.report.code_version import code_version
from geoloc.report.run_record import read_record, run_record, weight_digests, write_record
from geoloc.report.stages import stage_software, stage_times

CONFIG = {"run": "small", "seed": 7, "seeds": None}


def write(path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def git(folder, *arguments: str) -> None:
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        check=True,
        capture_output=True,
    )


def test_times_add_up_over_jobs_and_memory_is_that_of_the_largest(tmp_path):
    header = "s\th:m:s\tmax_rss\tcpu_time\n"
    write(tmp_path / "train/cnn/original/1.tsv", header + "10.5\t0:00:10\t900.5\t20\n")
    write(tmp_path / "train/cnn/original/2.tsv", header + "4.5\t0:00:04\t1000.25\tNA\n")
    write(tmp_path / "index.tsv", header + "0.01\t0:00:00\t-\tNA\n")
    assert stage_times(tmp_path) == [
        {"stage": "index", "jobs": 1, "wall_s": 0.01, "cpu_s": None, "max_rss_mb": None},
        {"stage": "train.cnn", "jobs": 2, "wall_s": 15.0, "cpu_s": 20.0, "max_rss_mb": 1000.25},
    ]


def test_packages_devices_and_machines_are_those_that_logs_name(tmp_path):
    write(
        tmp_path / "train/cnn/original/1.log",
        "10:00:00 INFO TensorFlow computes on 2 GPU(s)\n10:00:01 INFO epoch 1\n"
        "10:00:02 INFO ran on node7: AMD EPYC, machine of 62.5 GiB\n"
        "10:00:02 INFO packages of /site-packages: keras 3.9.0, tensorflow 2.21.0\n"
        "10:00:02 INFO packages of /project/scripts: geoloc 0.2.0\n",
    )
    second = "10:00:00 INFO ran on node8: Xeon, machine of 31.2 GiB\n"
    write(tmp_path / "train/cnn/original/2.log", second)
    write(tmp_path / "index.log", "10:00:00 INFO nothing\n")
    assert stage_software(tmp_path) == {
        "train.cnn": {
            "packages": {"keras": "3.9.0", "tensorflow": "2.21.0"},
            "devices": ["TensorFlow computes on 2 GPU(s)"],
            "machines": [
                "node7: AMD EPYC, machine of 62.5 GiB",
                "node8: Xeon, machine of 31.2 GiB",
            ],
        }
    }


@pytest.mark.skipif(not shutil.which("git"), reason="Git is not installed")
def test_the_commit_is_known_in_a_checkout_of_its_own_only(tmp_path):
    unknown = {"commit": None, "clean": None}
    assert code_version(tmp_path) == unknown
    git(tmp_path, "init", "-q")
    write(tmp_path / "a.txt", "a")
    git(tmp_path, "add", "a.txt")
    git(tmp_path, "commit", "-qm", "first")
    found = code_version(tmp_path)
    assert (len(found["commit"]), found["clean"]) == (40, True)
    write(tmp_path / "a.txt", "b")
    assert code_version(tmp_path)["clean"] is False
    write(tmp_path / "copy/Snakefile", "")
    assert code_version(tmp_path / "copy") == unknown


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version(tmp_path) == {"commit": None, "clean": None}


def test_weights_have_digests_folders_one_a_file(tmp_path):
    write(tmp_path / "clip/vocab.json", "{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    assert weight_digests(tmp_path / "clip") == {"vocab.json": digest}
    assert weight_digests(tmp_path / "clip/vocab.json") == digest
    assert weight_digests(tmp_path / "gone.pth") is None


def test_a_record_is_read_as_written_and_another_version_is_refused(tmp_path):
    write(tmp_path / "table1.csv", "Model\n")
    code = {"commit": None, "clean": None}
    record = run_record(
        tmp_path, CONFIG, code, {"s": "0f"}, [], [tmp_path / "table1.csv"], ["demo"]
    )
    assert record["tables"] == {"table1.csv": hashlib.sha256(b"Model\n").hexdigest()}
    assert (record["seeds"], record["differences_from_study"]) == ([7], ["demo"])
    write_record(tmp_path / "run.json", record)
    assert read_record(tmp_path / "run.json") == record
    write(tmp_path / "run.json", json.dumps(record | {"version": 0}))
    with pytest.raises(FileError, match="not a record of version 1"):
        read_record(tmp_path / "run.json")
    write(tmp_path / "run.json", "{")
    with pytest.raises(FileError, match="is damaged"):
        read_record(tmp_path / "run.json")
