"""Vocabularies: the class names that a segmentation can return, in the order of their indices.

`imagenet` has the 1,000 classes of ImageNet-1k, which the crop classifiers know. `cityscapes` has
the 19 evaluated classes of Cityscapes in the order of their train IDs (Cordts et al. 2016).
`mapillary_vistas` has the 65 evaluated classes of Mapillary Vistas 1.2 (Neuhold et al. 2017) in the
order and with the names of the public Mask2Former checkpoints. `demo` has the objects that the demo
draws. A user's own segmenter has its vocabulary in a text file, identified by its path.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from geoloc.errors import InputError, MissingFile

TITLES = {
    "imagenet": "ImageNet",
    "cityscapes": "Cityscapes",
    "mapillary_vistas": "Mapillary Vistas",
    "demo": "demo",
}
OF_CLASSIFIERS = {
    "resnet50": "imagenet",
    "efficientnet_lite0": "imagenet",
    "demo_objects": "demo",
}
"""Vocabulary of each crop classifier."""

AMBIGUOUS = ("first_meaning", "every_meaning")
# ImageNet-1k has two names that stand for two classes each: `crane`, the bird (134) and the machine
# (517), and `maillot` (638, 639). Street scenes show the machine.
FIRST_MEANING = {"imagenet": {"crane": 517}}


def vocabulary(name: str) -> tuple[str, ...]:
    """Return the class names of a vocabulary in the order of their indices.

    Args:
        name: `imagenet`, `cityscapes`, `mapillary_vistas` or `demo`, or the path of a text file
            (`.txt`, UTF-8) with one name per line.

    Raises:
        OSError: if the file does not exist.
        InputError: if the vocabulary is unknown, or the file has an empty line or a repeated name.
    """
    if is_vocabulary_file(name):
        return _read_vocabulary(Path(name))
    if name not in TITLES:
        raise InputError(f"no vocabulary named {name!r}: choose one of {', '.join(TITLES)}")
    return _shipped(name)


def is_vocabulary_file(name: str) -> bool:
    """Return whether a vocabulary is a user's file."""
    return name.endswith(".txt")


def title_of(name: str) -> str:
    """Return the title of a vocabulary, for messages."""
    return Path(name).name if is_vocabulary_file(name) else TITLES[name]


def _read_lines(path: str | Path) -> list[str]:
    """Return the lines of a UTF-8 text file, with or without a byte order mark."""
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from None


def _read_vocabulary(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise MissingFile(f"{path}: no such file; write one class name per line into it")
    names = [line.strip() for line in _read_lines(path)]
    for number, name in enumerate(names, start=1):
        if not name or "#" in name or name[0].isdecimal():
            raise InputError(
                f"{path}, line {number}: {name!r} is not a class name; write one per line, without "
                "# and not beginning with a digit"
            )
        if name in names[: number - 1]:
            raise InputError(f"{path}, line {number}: {name!r} is given twice; rename one")
    if not names:
        raise InputError(f"{path}: no class name; write one per line")
    return tuple(names)


@cache
def _shipped(name: str) -> tuple[str, ...]:
    path = Path(__file__).parent / "data" / f"{name}_classes.txt"
    return tuple(path.read_text(encoding="utf-8").rstrip("\n").split("\n"))


def class_indices(
    entry: str, ambiguous: str = "first_meaning", vocabulary_name: str = "imagenet"
) -> list[int]:
    """Return the indices of a class name, or of an index followed by its name.

    Args:
        entry: `street sign`, `919` or `919 street sign`.
        ambiguous: how to read a name that stands for two classes. `first_meaning` takes the one in
            `FIRST_MEANING`; `every_meaning` takes all of them, like the published code.
        vocabulary_name: the vocabulary of the name, see `vocabulary`.

    Raises:
        InputError: if the entry names no class (the message suggests close names), if it names
            several and `FIRST_MEANING` has none of them, or if the reading or the vocabulary is
            unknown.
    """
    if ambiguous not in AMBIGUOUS:
        raise InputError(
            f"{ambiguous!r} is not a way to read names; use one of {', '.join(AMBIGUOUS)}"
        )
    names, title = vocabulary(vocabulary_name), title_of(vocabulary_name)
    first, _, rest = entry.partition(" ")
    if first.isdecimal():
        index = int(first)
        if index >= len(names) or (rest.strip() and rest.strip() != names[index]):
            known = f"; class {index} is {names[index]!r}" if index < len(names) else ""
            raise InputError(f"{entry!r} is not a class of {title}{known}")
        return [index]
    found = [index for index, name in enumerate(names) if name == entry]
    if not found:
        close = difflib.get_close_matches(entry, names, n=3)
        hint = f", did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise InputError(f"{entry!r} is not a class of {title}{hint}")
    if len(found) == 1 or ambiguous == "every_meaning":
        return found
    meanings = FIRST_MEANING.get(vocabulary_name, {})
    if entry not in meanings:
        lines = " or ".join(f"'{index} {entry}'" for index in found)
        raise InputError(f"{entry!r} stands for {len(found)} classes: write {lines}")
    return [meanings[entry]]


def read_class_list(
    path: str | Path, ambiguous: str = "first_meaning", vocabulary_name: str = "imagenet"
) -> list[int]:
    """Read the class indices of a class list.

    A line is a name (`street sign`) or an index with its name (`919 street sign`). Empty lines and
    everything after `#` are ignored; a class may be listed twice.

    Args:
        path: the class list.
        ambiguous: how to read a name of two classes, see `class_indices`.
        vocabulary_name: the vocabulary of the names, see `vocabulary`.

    Returns:
        The indices, sorted and distinct, at least one.

    Raises:
        InputError: if a line names no class (the message gives the file, the line and close names),
            the list is empty, or the reading or the vocabulary is unknown.
    """
    lines = _read_lines(path)
    selected: set[int] = set()
    for number, line in enumerate(lines, start=1):
        entry = line.split("#")[0].strip()
        if entry:
            try:
                selected.update(class_indices(entry, ambiguous, vocabulary_name))
            except ValueError as error:
                raise InputError(f"{path}, line {number}: {error}") from None
    if not selected:
        title = title_of(vocabulary_name)
        raise InputError(f"{path} selects no class: write one {title} class name a line")
    return sorted(selected)


def vocabulary_of(segmentation: Mapping) -> str:
    """Return the vocabulary of an entry of `segmentations` in the configuration.

    It is the entry's own, its classifier's or the file of a user's segmenter.

    Raises:
        InputError: if the entry has none of these, or its classifier's vocabulary is unknown.
    """
    if segmentation["kind"] == "python":
        return segmentation["classes"]
    if "vocabulary" in segmentation:
        return segmentation["vocabulary"]
    if "classifier" not in segmentation:
        raise InputError(
            f"segmentations of the kind {segmentation['kind']} have neither a vocabulary nor a "
            "classifier, so no class list fits them; add the key vocabulary to the kind in "
            "config/config.schema.yaml and require it there"
        )
    classifier = segmentation["classifier"]["kind"]
    if classifier not in OF_CLASSIFIERS:
        raise InputError(
            f"the vocabulary of the classifier {classifier} is not known; add it to "
            "OF_CLASSIFIERS in scripts/geoloc/segmentation/vocabularies.py"
        )
    return OF_CLASSIFIERS[classifier]


def class_list_mistakes(config: Mapping, names: Iterable[str]) -> list[str]:
    """Return one message for each class list that doesn't fit its segmentation.

    A segmentation without a known vocabulary fits none.

    A missing file is not a mistake: another workflow may create it.

    Args:
        config: the checked configuration.
        names: entries of `scores` to check.
    """
    mistakes = []
    for name in names:
        entry = config["scores"][name]
        try:
            known = vocabulary_of(config["segmentations"][entry["segmentation"]])
        except InputError as error:
            mistakes.append(f"segmentations.{entry['segmentation']}: {error}")
            continue
        if not Path(entry["classes"]).is_file():
            continue
        if is_vocabulary_file(known) and not Path(known).is_file():
            continue
        try:
            read_class_list(entry["classes"], entry["ambiguous_classes"], known)
        except ValueError as error:
            mistakes.append(
                f"scores.{name}.classes: {error}; the segmentation {entry['segmentation']} names "
                f"{title_of(known)} classes"
            )
    return mistakes
