"""The tool of `make mutate`: what it changes, what it leaves alone, and how it judges."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.mutation import related
from tests.mutation.__main__ import own_changes, path_of, read_equivalents, sampled
from tests.mutation.operators import mutants, rule_mutants

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
        'config["score"]["minimum"] → None',
        "\"street\" → 'street_'",
    ]


def test_each_change_of_the_list_stands_once_in_its_file():
    _, stale = own_changes()
    assert not stale


def test_each_mutant_that_is_said_to_change_nothing_is_one_of_its_file():
    known = read_equivalents(ROOT / "tests/mutation/equivalent.txt")
    paths = sorted({key.partition(" | ")[0] for key in known})
    _, skipped = sampled(paths, known, None, 0, "")
    assert skipped["gone"] == []
    assert sum(map(len, skipped.values())) == len(known)


def test_every_module_has_tests():
    for path in (*map(path_of, (*related.SCIENCE, *related.SAFETY)), *related.PASSING_ON):
        assert (related.ROOT / path).exists(), path
        assert related.tests_of(path), path


def test_every_module_is_changed_unless_it_only_presents_results():
    """A new module goes into one of the lists of tests/mutation/related.py."""
    listed = {*related.SCIENCE, *related.SAFETY}
    assert len(listed) == len(related.SCIENCE) + len(related.SAFETY)
    folder = ROOT / "scripts/geoloc"
    found = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.py")}
    others = {name for name in found - listed if not name.endswith("__")}
    assert [name for name in sorted(others) if not name.startswith(related.PRESENTING)] == []
    assert [name for name in related.PRESENTING if not any(o.startswith(name) for o in found)] == []


JUDGE = """
import json, sys
from pathlib import Path
from tests.mutation.server import ROOT, Worker, run_all

worker = Worker(Path(sys.argv[1]) / "project")
path, test = "scripts/geoloc/keras_models/runtime.py", "tests/test_tiny.py"
(worker.folder / test).write_text(
    "from pathlib import Path\\n\\n\\ndef test_it():\\n"
    f"    assert 'seed' in Path({path!r}).read_text()\\n"
)
text = (ROOT / path).read_text()
outcomes = {}
changed = (text.replace("seed", "sown"), 60.0), (text + "\\n", 60.0), (None, 0.0)
tasks = [(path, change, [test], limit) for change, limit in changed]
run_all(tasks, [worker], outcomes.__setitem__)
assert (worker.folder / path).read_text() == text
print(json.dumps([[outcomes[n].noticed, outcomes[n].by] for n in range(3)]))
"""


def test_a_change_that_a_test_sees_is_noticed_and_another_is_not(tmp_path):
    """In a process of its own: one with the threads of other tests must not be forked."""
    command = [sys.executable, "-c", JUDGE, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(result.stdout.splitlines()[-1]) == [
        [True, "tests/test_tiny.py::test_it"],
        [False, ""],
        [True, "timeout"],
    ]
