"""A file of weights has exactly the tensors of its architecture, and all are finite."""

import numpy as np
import pytest

from geoloc.tensors import all_finite, check_tensors

EXPECTED = {"conv/kernel": (3, 2), "conv/bias": (2,), "steps": ()}


def tensors(**changes) -> dict[str, np.ndarray]:
    good = {name: np.zeros(shape, np.float32) for name, shape in EXPECTED.items()}
    return {name: x for name, x in (good | changes).items() if x is not None}


def check(found) -> None:
    check_tensors("w.h5", "ResNet50", EXPECTED, found, "retrieve it again")


def test_all_tensors_in_any_order_are_accepted():
    check(dict(reversed(tensors().items())))
    check(tensors(steps=np.array(7)))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"conv/bias": None}, r"missing: conv/bias\)"),
        ({"fc/bias": np.zeros(2)}, r"unexpected: fc/bias\)"),
        ({"conv/kernel": np.zeros((2, 3))}, r"conv/kernel \(2, 3\) for \(3, 2\)"),
        ({"conv/bias": np.zeros((2, 1))}, "of another shape"),
        ({"conv/bias": np.array([0, np.nan])}, "not finite: conv/bias"),
        ({"conv/bias": np.array([0, -np.inf], np.float16)}, "not finite: conv/bias"),
        (
            {f"module.{n}": np.zeros(1) for n in "abcde"} | {"conv/bias": None},
            r"missing: conv/bias; unexpected: module\.a, module\.b, module\.c and 2 more",
        ),
    ],
)
def test_any_difference_is_named(changes, fault):
    with pytest.raises(OSError, match=rf"w\.h5: not the weights of ResNet50 \(.*{fault}") as error:
        check(tensors(**changes))
    assert str(error.value).endswith("; retrieve it again")


def test_what_holds_no_numbers_is_not_finite():
    assert not all_finite(np.array(["1.0"]))
