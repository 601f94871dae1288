"""The plan of a run: jobs, hours and disk by stage."""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from geoloc.cli import estimate
from geoloc.cli.estimate import main
from geoloc.cli.estimate.sizes import expected_sizes, find_sizes
from geoloc.cli.estimate.stages import ONCE, WORK
from geoloc.corpus.index import build_index, write_index
from geoloc.corpus.sources import configured_sources
from tests.planning import planned
from tests.tiny_study import tiny_study
from tests.workflow.test_workflow import make_workdir

STREET = {"France": 30, "Japan": 20, "Namibia": 11}
SMALL = tiny_study("small")
COUNTED = """
run: small
index: {shard_size: 500, split: [0.8, 0.1, 0.1]}
test_sets: {im2gps3k: {path: bench}}
"""


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """A folder with the project and an index of 61 street images in seven shards."""
    folder = make_workdir(tmp_path_factory.mktemp("plan"))
    for country, count in STREET.items():
        (folder / "world" / country).mkdir(parents=True)
        for number in range(count):
            (folder / "world" / country / f"{number}.jpg").touch()
    (folder / "bench").mkdir()
    (folder / "bench/a.jpg").touch()
    (folder / "bench/t.csv").write_text("file,latitude,longitude\na.jpg,48.8,2.3\n")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        config = {
            "sources": {"geoguessr": source("geoguessr")},
            "test_sets": {"im2gps3k": source("im2gps3k")},
        }
        tables = build_index(configured_sources(config), min_images=10, shard_size=10, seed=42,
                             ratio=(0.8, 0.1, 0.1), max_rejected=0)  # fmt: skip
        write_index(folder / "results/small/index", *tables)
    return folder


def source(name: str) -> dict:
    kinds = {"geoguessr": "country_folders", "im2gps3k": "coordinates_table"}
    return {"kind": kinds[name], **(SMALL["sources"] | SMALL["test_sets"])[name]}


@pytest.fixture(scope="module", autouse=True)
def plan_once():
    """Snakemake plans the same jobs only once: it takes seconds."""
    known = {}

    def plan_jobs(config, configfiles, sizes):
        key = json.dumps(config), tuple(configfiles), tuple(sizes.shards)
        if key not in known:
            known[key] = plan(config, configfiles, sizes)
        return known[key]

    plan = estimate.plan_jobs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimate, "plan_jobs", functools.wraps(plan)(plan_jobs))
        yield


@pytest.fixture
def plan(indexed, monkeypatch, capsys):
    """The plan as JSON, its stages by name."""

    def call(*arguments):
        monkeypatch.chdir(indexed)
        main(["--configfile", "small.yaml", "--json", *arguments])
        result = json.loads(capsys.readouterr().out)
        return result, {stage["stage"]: stage for stage in result["stages"]}

    return call


def kind_of(job) -> str:
    """Folder of a job's benchmark."""
    if not job.benchmark:
        return ""
    path = Path(job.benchmark).relative_to("results/small/benchmarks")
    return path.with_suffix("").parts[0]


def is_local(job) -> bool:
    return job.rule.norun or job.rule.name in job.dag.workflow._localrules


EXPERIMENTS = [f"config/experiments/{n}.yaml" for n in ("controls", "seeds", "street_segmenters")]


@pytest.mark.parametrize(
    "configfiles",
    [[], ["config/demo.yaml"], EXPERIMENTS],
    ids=["the study", "the demo", "experiments"],
)
def test_jobs_are_those_of_snakemake_in_the_folder_of_the_run(plan, indexed, configfiles):
    files = [*configfiles, "small.yaml"]
    result, stages = plan("--configfile", *files)
    jobs = [
        job
        for of_rule in planned(indexed, {}, *(Path(indexed, file) for file in files)).values()
        for job in of_rule
        if not job.output or any(str(path).startswith("results/small/") for path in job.output)
    ]
    assert result["total"]["jobs"] == len(jobs)
    found = Counter(kind_of(job) for job in jobs)
    for kind in WORK:
        counted = [s["jobs"] for s in stages.values() if s["stage"].partition(".")[0] == kind]
        assert sum(counted) == found.pop(kind, 0), kind
    assert stages[ONCE]["jobs"] == sum(found.values())
    # What grows with the number of images takes more than seconds.
    once = {job.rule.name for job in jobs if kind_of(job) in found and not is_local(job)}
    assert once == {"index"}
    assert result["sizes"]["street"] == 61


def test_snakemake_says_why_it_cannot_plan(plan, indexed, capsys):
    (indexed / "nowhere.yaml").write_text("models: {clip: {path: nowhere}}")
    with pytest.raises(SystemExit, match="can't plan this run"):
        plan("--configfile", "small.yaml", "nowhere.yaml")
    assert "missing: models.clip.path: nowhere does not exist" in capsys.readouterr().err


def test_the_expected_number_of_shards_is_near_that_of_real_countries():
    sizes = np.random.default_rng(1).lognormal(mean=6, sigma=1.2, size=73).astype(int) + 75
    options = argparse.Namespace(images=sum(sizes), countries=73, test_set_images=0)
    config = {"index": {"shard_size": 500, "split": [0.8, 0.1, 0.1]}, "test_sets": {}}
    expected = expected_sizes(config, options)
    assert expected.street == sum(sizes)
    assert len(expected.shards) == pytest.approx(sum(math.ceil(n / 500) for n in sizes), rel=0.05)


def test_what_nobody_measured_is_unknown(plan):
    total, stages = plan()
    assert stages["segment.sam"]["hours"] is None
    assert stages["segment.sam"]["disk_gb"] is None
    assert stages["pack_images"]["bytes"] == 224 * 224 * 3
    assert stages["pack_scores.objects"]["bytes"] == 224 * 224
    assert not total["total"]["gpu_hours_complete"]


def test_hours_follow_finished_jobs_and_options_go_before_them(plan, indexed):
    shards = pd.read_csv(
        indexed / "results/small/index/shards.csv", dtype=str, keep_default_na=False
    )
    shard = shards.query("country == 'NA'").iloc[0]
    place = f"{shard.country}/{shard.shard}"
    benchmark = indexed / f"results/small/benchmarks/segment/sam/{place}.tsv"
    segments = indexed / f"results/small/segments/sam/{place}.h5"
    for path in (benchmark, segments):
        path.parent.mkdir(parents=True, exist_ok=True)
    benchmark.write_text(f"s\th:m:s\n{3 * int(shard.images)}.0\t0:00:01\n")
    segments.write_bytes(bytes(1000 * int(shard.images)))
    try:
        _, stages = plan()
        assert stages["segment.sam"]["gpu_hours"] == pytest.approx(3 * 61 / 3600)
        assert stages["segment.sam"]["disk_gb"] == pytest.approx(1000 * 61 / 1e9)
        assert stages["segment.sam"]["seconds_from"] == "1 finished jobs of results/small"
        _, stages = plan("--rate", "segment.sam=2", "--rate", "score.objects=0.5")
        assert stages["segment.sam"]["gpu_hours"] == pytest.approx(2 * 61 / 3600)
        assert stages["score.objects"]["hours"] == pytest.approx(0.5 * 61 / 3600)
        assert stages["score.objects"]["gpu_hours"] == 0
    finally:
        benchmark.unlink()
        segments.unlink()


def test_training_is_counted_in_images_and_epochs(plan, indexed):
    result, _ = plan()
    sizes = result["sizes"]
    folder = indexed / "results/small"
    (folder / "benchmarks/train/cnn/original").mkdir(parents=True)
    (folder / "models/cnn/original/42").mkdir(parents=True)
    seen = sizes["train"] + sizes["val"]
    (folder / "benchmarks/train/cnn/original/42.tsv").write_text(f"s\n{4 * 0.5 * seen}\n")
    (folder / "models/cnn/original/42/history.csv").write_text("epoch,loss\n1,1\n2,1\n3,1\n4,1\n")
    stage = plan()[1]["train.cnn"]
    assert stage["seconds"] == pytest.approx(0.5)
    assert stage["gpu_hours"] == pytest.approx(3 * 25 * seen * 0.5 / 3600)


def test_clip_models_are_counted_by_the_images_of_each(plan, indexed):
    (indexed / "models.yaml").write_text(
        "models: {clip: {path: null}, contrastive: {kind: contrastive, epochs: 2}}"
    )
    configfiles = ("--configfile", "small.yaml", "models.yaml")
    sizes = plan(*configfiles)[0]["sizes"]
    tested = 3 * sizes["test"] + sizes["test_set"]
    explained = min(730, sizes["test"])
    seconds = {
        "train_clip/clip/default/42": 5 * sizes["train"],
        "train_clip/contrastive/original/42": 2 * sizes["train"],
        "train_clip/contrastive/weighted_base/42": 4 * sizes["train"],
        "predict/clip/default/42": 7 * tested,
        "predict/contrastive/original/42": 0.5 * tested,
        "explain/clip/default/42": 3 * explained,
        "explain/contrastive/original/42": 6 * explained,
    }
    for name, duration in seconds.items():
        benchmark = indexed / f"results/small/benchmarks/{name}.tsv"
        benchmark.parent.mkdir(parents=True, exist_ok=True)
        benchmark.write_text(f"s\n{duration}\n")
    _, stages = plan(*configfiles)
    rates = {name: s["seconds"] for name, s in stages.items() if name.endswith(("clip", "ive"))}
    assert rates == pytest.approx(
        {
            "train_clip.clip": 5,
            "train_clip.contrastive": 3,
            "predict.clip": 7,
            "predict.contrastive": 0.5,
            "explain.clip": 3,
            "explain.contrastive": 6,
        }
    )
    contrastive = stages["predict.contrastive"]
    assert contrastive["gpu_hours"] == pytest.approx(3 * 0.5 * tested / 3600)


def test_larger_shards_are_fewer(indexed, monkeypatch):
    monkeypatch.chdir(indexed)
    many, few = (
        find_sizes(yaml.safe_load(COUNTED), argparse.Namespace(shard_size=size))
        for size in (10, 100)
    )
    assert sum(many.shards.values()) == sum(few.shards.values()) == 62
    assert len(few.shards) == len({(name, country) for name, country, _ in few.shards}) == 4
    assert len(many.shards) > len(few.shards)


def test_the_table_says_what_it_does_not_know(indexed, monkeypatch, capsys):
    monkeypatch.chdir(indexed)
    main(["--configfile", "small.yaml", "--rate", "segment.sam=2"])
    text = capsys.readouterr().out
    assert "unknown" in text
    total = next(line for line in text.splitlines() if line.split()[:1] == ["total"])
    assert total.count("> ") == 3
    main(["--configfile", "small.yaml", "--measured", "nowhere"])
    assert capsys.readouterr().out.split("total")[1].split()[1:3] == ["unknown", "unknown"]
    with pytest.raises(SystemExit, match="unknown stage segmnt"):
        main(["--configfile", "small.yaml", "--rate", "segmnt=2"])
