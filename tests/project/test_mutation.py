"""The tool of `make mutate`: what it changes, what it leaves alone, and how it judges."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation import related
from tests.mutation.__main__ import path_of
from tests.mutation.operators import mutants, rule_mutants
from tests.mutation.server import Worker, run_all

SOURCE = '''"""What it does: 3 things."""
log.info("%d images", 3)
__all__ = ["public"]


def f(a, b=2, *, c: int = 4) -> int:
    """Adds 1."""
    if a < b and not c:
        raise ValueError("3 is too few")
    return sorted(g(a, b, unit="images", seed=c)[1:])
'''


def changed(source: str, changes=mutants) -> list[str]:
    return [one.key.split(" | ")[2] for one in changes(source, "x")]


def test_each_mutant_is_another_program_and_no_text_for_readers_is_changed():
    found = mutants(SOURCE, "x")
    trees = {ast.dump(ast.parse(one.apply(SOURCE))) for one in found}
    assert len(trees) == len(found)
    assert ast.dump(ast.parse(SOURCE)) not in trees
    for text in ("What it does", "images", '["public"]', "Adds 1", "too few", ": int", "-> int"):
        assert all(
            text in one.apply(SOURCE)
            or one.original.startswith("raise")
            or "g(a" in one.original
            or one.original.startswith("return")
            for one in found
        )


@pytest.mark.parametrize(
    "change",
    [
        "a < b → (a <= b)", "a < b → (a >= b)", "2 → 3", "2 → 1", "4 → 5", "not c → (c)",
        "a < b and not c → (a < b)", "a < b and not c → True", "a < b and not c → False",
        'raise ValueError("3 is too few") → pass', "1 → 2",
        'g(a, b, unit="images", seed=c) → g(a, b, unit=\'images\')',
        'g(a, b, unit="images", seed=c) → g(a, unit=\'images\', seed=c)',
        'g(a, b, unit="images", seed=c) → g(b, a, unit=\'images\', seed=c)',
        'g(a, b, unit="images", seed=c)[1:] → (g(a, b, unit=\'images\', seed=c))',
        'sorted(g(a, b, unit="images", seed=c)[1:]) → list(g(a, b, unit=\'images\', seed=c)[1:])',
        'return sorted(g(a, b, unit="images", seed=c)[1:]) → return None',
    ],
)  # fmt: skip
def test_changes_of_every_kind_are_made(change):
    assert change in changed(SOURCE)


def test_equal_changes_of_a_function_have_their_own_names():
    assert changed("x = [1, 1]\n") == ["1 → 2", "1 → 2 #2"]


def test_values_of_the_configuration_are_changed_in_rules():
    source = (
        'rule score:\n    params:\n        a=config["score"]["minimum"],\n        b="street",\n'
    )
    assert changed(source, rule_mutants) == [
        'config["score"]["minimum"] → None', "\"street\" → 'street_'"
    ]  # fmt: skip


def test_every_module_has_tests():
    for path in (*map(path_of, (*related.SCIENCE, *related.SAFETY)), *related.PASSING_ON):
        assert (related.ROOT / path).exists(), path
        assert related.tests_of(path), path


def test_a_change_that_a_test_sees_is_noticed_and_another_is_not(tmp_path):
    worker = Worker(tmp_path / "project")
    path = "scripts/geoloc/keras_models/runtime.py"
    (tmp_path / "project/tests/test_tiny.py").write_text(
        "from pathlib import Path\n\n\ndef test_it():\n"
        f"    assert 'seed' in Path('{path}').read_text()\n"
    )
    text = (related.ROOT / path).read_text()
    outcomes = {}
    tasks = [
        (path, text.replace("seed", "sown"), ["tests/test_tiny.py"], 60.0),
        (path, text + "\n", ["tests/test_tiny.py"], 60.0),
        (path, None, ["tests/test_tiny.py"], 0.0),
    ]
    run_all(tasks, [worker], outcomes.__setitem__)
    assert [outcomes[n].noticed for n in range(3)] == [True, False, True]
    assert outcomes[0].by == "tests/test_tiny.py::test_it"
    assert outcomes[2].by == "timeout"
    assert Path(worker.folder, path).read_text() == text
