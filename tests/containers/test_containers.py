"""The workflow in the three Apptainer images. `make test-containers` builds them and runs it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.job_packages import FROM_OUTSIDE, packages_used
from tests.slurm import cluster
from tests.slurm.test_slurm import TINY, contents, finish, slurm, slurm_jobs, start_snakemake  # noqa: F401
from tests.workflow.test_workflow import make_workdir, run_snakemake

DEMO = ("--configfile", "config/demo.yaml", "small.yaml")
# The project's files are links here, and what they point to has to be seen in the images.
CONTAINERS = ("--software-deployment-method", "apptainer", f"--apptainer-args=--nv --bind {ROOT}")
IMAGE_PACKAGES = re.compile(r"/opt/venv/lib/python3\.\d+(/site-packages)?")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run in the images, from drawing the world to Table 1."""
    folder = make_workdir(tmp_path_factory.mktemp("containers"))
    (folder / "containers").symlink_to(ROOT / "containers")
    (folder / "small.yaml").write_text(yaml.safe_dump(TINY))
    run_snakemake(folder, *CONTAINERS, *DEMO)
    return folder


def test_a_run_in_the_images_ends_with_table_1(finished):
    assert len((finished / "results/small/table1.csv").read_text().splitlines()) == 8


def test_no_stage_takes_a_package_from_outside_its_image(finished):
    """Snakemake shows the image its own packages on the host, which jobs could take by mistake."""
    logs = list((finished / "results/small/logs").rglob("*.log"))
    assert len(logs) > 30
    for log in logs:
        used = packages_used(log)
        assert any(IMAGE_PACKAGES.fullmatch(folder) for folder in used), log
        outside = [names for folder, names in used.items() if not IMAGE_PACKAGES.fullmatch(folder)]
        assert set().union(*outside) <= FROM_OUTSIDE, log


@pytest.mark.parametrize(
    ("log", "package"),
    [
        ("prepare/street/US/0000.log", "h5py"),
        ("segment/sam/US/0000.log", "torch"),
        ("train/cnn/original/42.log", "tensorflow"),
        ("train_clip/clip/default/42.log", "transformers"),
        ("explain/cnn/original/42.log", "tensorflow"),
        ("predict/cnn/original/42.log", "keras"),
    ],
)
def test_a_stage_uses_its_image(finished, log, package):
    used = packages_used(finished / "results/small/logs" / log)
    image = next(names for folder, names in used.items() if IMAGE_PACKAGES.fullmatch(folder))
    assert package in image


@pytest.mark.skipif(bool(cluster.missing_programs()), reason="Slurm is not installed")
def test_jobs_of_slurm_run_in_the_images(finished, slurm, tmp_path):  # noqa: F811
    scores = finished / "results/small/scores/objects/US/0000.h5"
    log = finished / "results/small/logs/segment/sam/US/0000.log"
    before = tmp_path / scores.name
    shutil.move(scores, before)
    for path in (finished / "results/small/segments/sam/US/0000.h5", log):
        path.unlink()
    triggers = ("--rerun-triggers", "mtime")
    target = str(scores.relative_to(finished))
    finish(start_snakemake(finished, slurm, *CONTAINERS, *triggers, "--", target), finished)
    assert [job["JobState"] for job in slurm_jobs(slurm)] == ["COMPLETED", "COMPLETED"]
    assert any(IMAGE_PACKAGES.fullmatch(folder) for folder in packages_used(log))
    assert contents(scores) == contents(before)
