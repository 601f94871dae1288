"""A user's own model runs from its file, and what it returns is checked."""

import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from geoloc.errors import InputError
from geoloc.evaluation.user_model import UserModel

CLASSES = ["DE", "FR", "NA"]
OF_COUNTRIES = """
    import numpy as np
    from helper import brightest

    class Model:
        def __init__(self, favor):
            self.favor = favor

        def predict(self, images, countries):
            rows = np.full((len(images), len(countries)), 0.1 / (len(countries) - 1))
            rows[np.arange(len(images)), [brightest(i) for i in images]] = 0.9
            rows[images.shape[1] > 50] = np.eye(len(countries))[countries.index(self.favor)]
            return rows

    def load(favor="DE"):
        return Model(favor)
"""
OF_PLACES = """
    import numpy as np

    class Model:
        def places(self, images):
            return np.where(images[:, 0, 0, :1] > 99, [[48.9, 2.4]], [[35.7, 139.7]])

    def load():
        return Model()
"""


@pytest.fixture(autouse=True)
def _no_helper_of_an_earlier_test(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    sys.modules.pop("helper", None)


def write(folder: Path, text: str) -> Path:
    (folder / "helper.py").write_text("def brightest(i):\n    return i.mean((0, 1)).argmax()\n")
    path = folder / "my_model.py"
    path.write_text(dedent(text))
    return path


def colored(channel: int, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    image = np.zeros((*size, 3), np.uint8)
    image[..., channel] = 200
    return image


def test_countries_are_those_that_the_file_predicts_for_images_of_any_sizes(tmp_path):
    model = UserModel(write(tmp_path, OF_COUNTRIES), CLASSES, options={"favor": "NA"})
    images = [colored(1), colored(0, (60, 40)), colored(2), colored(0)]
    answers = model.answer(images)
    assert answers.places is None
    assert answers.probabilities.dtype == np.float32
    expected = [[0.05, 0.9, 0.05], [0, 0, 1], [0.05, 0.05, 0.9], [0.9, 0.05, 0.05]]
    np.testing.assert_allclose(answers.probabilities, expected, atol=1e-7)


def test_places_become_countries(tmp_path):
    answers = UserModel(write(tmp_path, OF_PLACES), CLASSES).answer([colored(0), colored(1)])
    assert answers.places.tolist() == [[48.9, 2.4], [35.7, 139.7]]
    assert answers.probabilities.tolist() == [[0, 1, 0], [0, 0, 0]]  # Tokyo is in no class


def returning(method: str, value: str) -> str:
    arguments = "self, images, countries" if method == "predict" else "self, images"
    return f"""
    import numpy as np
    import pandas as pd
    class Model:
        def {method}({arguments}):
            return {value}
    def load():
        return Model()
    """


@pytest.mark.parametrize(
    ("method", "value", "fault"),
    [
        ("predict", "np.ones((1, 2)) / 2", r"float64 \(1, 2\) instead of float \(1, 3\)"),
        ("predict", "np.eye(3, dtype=int)[:1]", r"int64 \(1, 3\) instead of float"),
        ("predict", "np.array([[0.5, np.nan, 0.5]])", "not finite"),
        ("predict", "np.array([[1.5, -0.5, 0.0]])", r"negative probability \(-0\.5\)"),
        ("predict", "np.array([[0.5, 0.2, 0.2]])", "add up to 0.9, not to 1"),
        (
            "predict",
            "pd.DataFrame([[0.7, 0.2, 0.1]], columns=['NA', 'FR', 'DE'])",
            "the columns NA, FR, DE instead of DE, FR, NA",
        ),
        ("predict", "np.ma.masked_less([[0.7, 0.2, 0.1]], 0.2)", "masked values"),
        (
            "places",
            "pd.DataFrame([[2.4, 48.9]], columns=['longitude', 'latitude'])",
            "the columns longitude, latitude instead of latitude, longitude",
        ),
        ("places", "np.array([[139.7, 35.7]])", r"latitude 139\.7, longitude 35\.7"),
        ("places", "np.array([[0.0, np.inf]])", "not finite"),
        ("places", "None", r"object \(\) instead of float \(1, 2\)"),
    ],
)
def test_what_no_model_returns_is_refused_with_the_file(method, value, fault, tmp_path):
    model = UserModel(write(tmp_path, returning(method, value)), CLASSES)
    with pytest.raises(
        InputError,
        match=rf"my_model\.py: {method}\(\) returned .*{fault}.*1 images of 20 × 30 pixels",
    ):
        model.answer([colored(0)])


def test_an_error_of_the_file_is_one_line_with_its_place(tmp_path):
    model = UserModel(write(tmp_path, returning("places", "images['a']\n")), CLASSES)
    with pytest.raises(InputError, match=r"my_model\.py, line 6: IndexError: .*; correct the file"):
        model.answer([colored(0)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def load(:\n", r"my_model\.py, line 1: SyntaxError"),
        ("import no_such_package\n", r"line 1: ModuleNotFoundError: No module named 'no_such"),
        ("x = 1\n", r"has no function load\(\*\*options\)"),
        ("def load(**options):\n    return 3\n", "the int that it returned has neither"),
        ("def load():\n    pass\n", r"TypeError: load\(\) got an unexpected keyword .*'favor'"),
        (OF_COUNTRIES + "\n    Model.places = Model.predict\n", "has predict and places"),
    ],
)
def test_a_file_without_a_model_is_refused(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        UserModel(write(tmp_path, text), CLASSES, options={"favor": "NA"})


def test_a_file_that_is_missing_or_no_python_is_named(tmp_path):
    with pytest.raises(OSError, match=r"none\.py: no such file"):
        UserModel(tmp_path / "none.py", CLASSES)
    (tmp_path / "model.txt").touch()
    with pytest.raises(InputError, match=r"model\.txt: not a Python file"):
        UserModel(tmp_path / "model.txt", CLASSES)


def test_a_table_with_the_countries_in_order_is_taken(tmp_path):
    value = "pd.DataFrame([[0.7, 0.2, 0.1]], columns=countries)"
    answers = UserModel(write(tmp_path, returning("predict", value)), CLASSES).answer([colored(0)])
    np.testing.assert_allclose(answers.probabilities, [[0.7, 0.2, 0.1]])


def folder_of(path: Path, name: str, value: str) -> Path:
    """A model whose answer is the `VALUE` of a module next to it."""
    path.mkdir()
    (path / f"{name}.py").write_text(f"VALUE = {value}\n")
    file = path / "my_model.py"
    file.write_text(f"import {name}\n" + dedent(returning("predict", f"{name}.VALUE")))
    return file


def test_a_module_next_to_a_file_is_not_exchanged_for_another_one_of_its_name(tmp_path):
    """That of an earlier file, or of Python itself."""
    first = folder_of(tmp_path / "a", "my_values", "np.eye(3)[:1]")
    UserModel(folder_of(tmp_path / "c", "values_of_mine", "1"), CLASSES)
    (tmp_path / "a/my_values.py").write_text("VALUE = 1\n")
    UserModel(first, CLASSES)
    second = folder_of(tmp_path / "b", "my_values", "2")
    with pytest.raises(InputError, match=r"b/my_model\.py: `import my_values` gives .*a/my_values"):
        UserModel(second, CLASSES)
    for name in ("colorsys", "sys"):
        with pytest.raises(InputError, match=f"`import {name}` gives .*rename that and the import"):
            UserModel(folder_of(tmp_path / name, name, "3"), CLASSES)
