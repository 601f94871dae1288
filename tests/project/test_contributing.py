"""CONTRIBUTING.md names files and names in them that exist."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGES = re.split(r"^##+ ", TEXT.partition("## Ten changes")[2], flags=re.MULTILINE)[1:-1]
# A path has a suffix or ends with a slash; what is in italics does not exist yet.
PATH = re.compile(r"(?<!\*)`([\w./-]+(?:\.(?:py|smk|yaml|yml|md|toml|rst|txt)|/))`(?!\*)")
NEW = re.compile(r"\*`([\w./-]+)`\*")


def test_every_file_that_is_named_exists():
    paths = set(PATH.findall(TEXT)) - {"metrics.csv"}
    assert len(paths) > 25
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_new_file_goes_to_a_folder_that_exists():
    new = NEW.findall(TEXT)
    assert len(new) > 5
    assert [path for path in new if not (ROOT / path).parent.is_dir()] == []
    assert [path for path in new if (ROOT / path).exists()] == []


def test_there_are_ten_changes():
    assert len(CHANGES) == 10


@pytest.mark.parametrize("change", CHANGES, ids=lambda text: text.partition("\n")[0])
def test_a_file_to_edit_has_what_is_to_be_changed_in_it(change):
    """`NAME` in capitals stands in one of the files that the same step names."""
    steps = re.split(r"^(?=\d\. |\n)", change.partition("\n")[2], flags=re.MULTILINE)
    for step in steps:
        texts = [(ROOT / path).read_text(encoding="utf-8") for path in PATH.findall(step)]
        for name in re.findall(r"`([A-Z][A-Z_0-9]+|not_finite)`", step):
            assert any(re.search(rf"\b{name}\b", text) for text in texts), name


def test_every_room_is_in_the_table():
    folder = ROOT / "scripts/geoloc"
    rooms = {path.name for path in folder.iterdir() if (path / "__init__.py").exists()}
    table = TEXT.partition("| room in")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == rooms
