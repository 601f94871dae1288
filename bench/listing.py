"""What the public listing of the validation split implies for the study's classes.

Half of the published validation split's file names are known (46 complete countries), and no name
of a training or test image. split-folders sorts the names of a country and shuffles them with a
seed, so only the number of images and the seed decide which positions of the sorted list are
validation names. This rules out a number of images if fewer file names exist between two neighbors
of the listing than the split needs there: Streetview's are `0.png` to `25228.png`, GeoGuessr's are
`canvas_` and a number.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STREETVIEW_IMAGES = 25_229
RATIO = (0.8, 0.1, 0.1)
SEED = 42


@dataclass(frozen=True)
class Gap:
    """`needed` names of other splits are between two names of the listing.

    `first` and `last` bound their possible positions, both exclusive: ranks of Streetview's sorted
    names, or numbers of GeoGuessr's.
    """

    kind: str
    first: int
    last: int
    needed: int

    @property
    def missing(self) -> int:
        """The number of needed names that don't exist."""
        return max(0, self.needed - (self.last - self.first - 1))


def read_listing(path: Path) -> dict[str, list[str]]:
    """Read sorted validation names by country from lines `.../{country}/{name}`."""
    names = defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        country, name = line.split("/")[-2:]
        names[country].append(name)
    return {country: sorted(found) for country, found in names.items()}


def validation_positions(images: int, seed: int = SEED) -> list[int]:
    """Return the positions of split-folders' validation names in a country's sorted names."""
    order = list(range(images))
    random.Random(seed).shuffle(order)
    train = int(RATIO[0] * images)
    return sorted(order[train : train + int(RATIO[1] * images)])


@cache
def streetview_names() -> list[str]:
    """Return all file names of Streetview in text order."""
    return sorted(f"{number}.png" for number in range(STREETVIEW_IMAGES))


def place(name: str) -> tuple[str, int]:
    """Return the kind of a name and its position among those of its kind."""
    if name.endswith(".png"):
        return "png", bisect_left(streetview_names(), name)
    return "jpg", int(name.removeprefix("canvas_").removesuffix(".jpg"))


def gaps(names: Sequence[str], images: int, seed: int = SEED) -> list[Gap]:
    """Return the gaps before and between names of one kind.

    `names`, sorted, are the last validation names of a country with `images` images. The gap
    between the last PNG and the first JPEG is skipped, since names of both kinds fit there.
    """
    positions = validation_positions(images, seed)[-len(names) :]
    whole = len(positions) == int(RATIO[1] * images)
    kind, before, position = "png", -1, -1
    found = []
    for name, here in zip(names, positions, strict=True):
        if place(name)[0] == kind and (whole or name != names[0]):
            found.append(Gap(kind, before, place(name)[1], here - position - 1))
        (kind, before), position = place(name), here
    return found


def possible_sizes(names: Sequence[str], seed: int = SEED) -> list[int]:
    """Return the numbers of images of a country for which `names` can be its validation names."""
    sizes = range(10 * len(names) - 1, 10 * len(names) + 12)
    sizes = [size for size in sizes if int(RATIO[1] * size) == len(names)]
    return [size for size in sizes if not any(gap.missing for gap in gaps(names, size, seed))]
