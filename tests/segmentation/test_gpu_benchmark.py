"""bench/gpu.py runs on a bare machine, and what it reports is measured."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

import numpy as np
import pytest
from bench import gpu

from geoloc.segmentation import rle
from geoloc.segmentation.crops import cut_crops
from geoloc.segmentation.segments import to_segments
from tests.conftest import ROOT
from tests.processes import run_python

BARE = {"torch", "torchvision", "h5py", "segment_anything", "numpy", "pillow"}
RUN = """
import runpy, sys
allowed = set(sys.argv[1].split(",")) | sys.stdlib_module_names | {"bench", "geoloc"}

class Bare:
    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed and not top.startswith("_sysconfigdata"):
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next(filter(None, found), None)

sys.meta_path[:] = [Bare([each for each in sys.meta_path if hasattr(each, "find_spec")])]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def importable() -> set[str]:
    """Top-level modules of the packages of a bare machine and of all that they require."""
    known, waiting = set(), list(BARE)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in known:
            known.add(name)
            try:
                needed = requires(name) or []
            except PackageNotFoundError:  # for another platform
                continue
            waiting += [re.split(r"[^\w.-]", one)[0] for one in needed if "extra ==" not in one]
    names = packages_distributions().items()
    return {m for m, made in names if any(re.sub(r"[-_.]+", "-", d).lower() in known for d in made)}


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> dict[tuple[str, str], dict]:
    folder = tmp_path_factory.mktemp("gpu")
    modules = importable()
    assert not modules & {"cv2", "pandas", "scipy", "transformers", "xxhash"}
    options = ["--device", "cpu", "--small", "--folder", str(folder)]
    run_python(RUN, ",".join(sorted(modules)), str(ROOT / "bench/gpu.py"), *options)
    rows = json.loads((folder / "gpu.json").read_text())
    return {(row["case"], row["metric"]): row for row in rows}


def test_the_benchmark_runs_with_the_packages_of_a_bare_machine(measured):
    plain, short = "demo, cpu, float32", "demo, cpu, bfloat16"
    assert {case for case, _ in measured} == {plain, short}
    for case in (plain, short):
        assert measured[case, "images/s"]["value"] > 0
        assert 0 < measured[case, "share of time in the networks"]["value"] < 1
        assert measured[case, "peak GiB on the GPU"]["value"] is None  # there is none


def test_float32_on_the_same_device_finds_the_same_and_about_as_many_masks_as_wanted(measured):
    found = {metric: row for (case, metric), row in measured.items() if case.endswith("float32")}
    masks = found["masks of an image, by CPU"]
    assert masks["value"] == masks["baseline"] == gpu.SMALL.masks
    assert found["share of the CPU's masks found, IoU 0.95"]["value"] == 1
    assert found["share of them with the same class"]["holds"] is True


def square(left: int, top: int, side: int, size: int = 40):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def found(*masks):
    counts = [rle.encode(mask.T, 0, 0, mask.shape) for mask in masks]
    return to_segments(masks[0].shape, counts, [0.5] * len(masks), [0.9] * len(masks))


def test_masks_are_compared_by_their_overlap():
    ours, theirs = found(square(0, 0, 10), square(20, 20, 4)), found(square(0, 0, 5))
    np.testing.assert_allclose(gpu.mask_ious(ours, theirs), [[0.25], [0]])


def test_crops_without_opencv_are_those_with_it_where_a_mask_is_one_bright_part():
    image = gpu.draw(1, 40).clip(20)
    masks = found(square(3, 5, 20), square(0, 0, 7) & square(2, 0, 9))
    for mine, other in zip(
        gpu.cut_boxes(image, masks, 256, 224), cut_crops(image, masks), strict=True
    ):
        np.testing.assert_allclose(mine.astype(int), other, atol=1)
