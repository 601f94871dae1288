"""The laws of the house: who may import whom, and who may import what is heavy."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

SCRIPTS = ROOT / "scripts"
FILES = {
    ".".join(path.relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("geoloc", "scenes")
    for path in (SCRIPTS / package).rglob("*.py")
}
# A room may import from itself and from those before it; `shared` are the modules beside the rooms.
# Neighbors on a line do not know each other.
FLOORS = [
    {"shared"},
    {"config"},
    {"stores", "countries", "pytorch"},
    {"corpus", "scenes"},
    {"segmentation", "keras_models", "image_text"},
    {"coordinates"},
    {"evaluation"},
    {"explain"},
    {"report"},
    {"verify", "explore"},
    {"cli"},
]
FRAMEWORKS = {"torch", "tensorflow", "keras", "transformers"}
LIGHT = ("shared", "config", "stores", "countries", "corpus", "evaluation", "report", "explore",
         "scenes")  # fmt: skip
HEAVY = FRAMEWORKS | {"pandas", "h5py", "cv2", "scipy", "sklearn", "matplotlib", "pyarrow"}


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Those that run when a module is imported."""
    for node in tree.body:
        if isinstance(node, ast.Try | ast.With | ast.If):
            if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
                yield from statements(node)
        else:
            yield node


def imported(nodes) -> set[str]:
    """Modules that statements import, and the packages around them."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in FILES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {
        ".".join(name.split(".")[: n + 1]) for name in found for n in range(name.count(".") + 1)
    }


TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
WHEN_IMPORTED = {name: imported(statements(tree)) for name, tree in TREES.items()}
EVER = {name: imported(ast.walk(tree)) for name, tree in TREES.items()}


def room(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "scenes":
        return "scenes"
    if name == "geoloc.__main__":
        return "cli"
    return parts[1] if len(parts) > 1 and (SCRIPTS / "geoloc" / parts[1]).is_dir() else "shared"


def loaded(names: set[str]) -> set[str]:
    """Top-level packages that are loaded when modules of the project are imported."""
    seen, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += WHEN_IMPORTED.get(name, ())
    return {name.partition(".")[0] for name in seen}


def test_every_room_has_its_floor():
    assert {room(name) for name in FILES} == set().union(*FLOORS)


def test_no_module_imports_from_above_even_inside_a_function():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    upward = [
        (name, other)
        for name, others in EVER.items()
        for other in others & FILES.keys()
        if room(other) != room(name)
        and other != "geoloc"
        and floor[room(other)] >= floor[room(name)]
    ]
    assert not upward


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        name: {other for other in others & FILES.keys() if not f"{name}.".startswith(f"{other}.")}
        for name, others in EVER.items()
    }
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the circle


@pytest.mark.parametrize("name", sorted(name for name in FILES if room(name) in LIGHT))
def test_rooms_without_networks_load_no_framework(name):
    assert not loaded({name}) & FRAMEWORKS


@pytest.mark.parametrize("name", ["tables", "figure"])
def test_summaries_of_explanations_load_no_framework(name):
    assert not loaded({f"geoloc.explain.{name}"}) & FRAMEWORKS


def test_planning_loads_nothing_heavy():
    rules = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    lines = "\n".join(path.read_text(encoding="utf-8") for path in rules)
    statement = re.compile(r"^(?:from \S+ )?import (?:\([^)]*\)|[^(\n]+)$", re.MULTILINE)
    used = imported(ast.parse("\n".join(statement.findall(lines))).body)
    assert {"geoloc.config", "geoloc.report.code_version", "snakemake.exceptions"} <= used
    assert not loaded(used) & HEAVY
