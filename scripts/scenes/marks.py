"""Marks that differ between the countries of the generated world, and how often each occurs.

Every mark is drawn at random with the country's own weights, and every value occurs in several
countries. So one mark alone says little; all marks together say a lot. The weights are loosely
those of real roads; they only have to make a world in which geolocation is possible.

A world may make a mark uninformative: then every country draws it from the same distribution, the
mean of the kept countries. A draw always takes one random number, whatever the weights are. So a
scene with the same random state has the same camera, and the same values of the informative marks,
in every world.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from geoloc.errors import InputError

# country -> value -> weight (normalized when drawn)
Weights = dict[str, dict[str, float]]

KEPT = ("BR", "FI", "FR", "GB", "JP", "NA", "US")
"""Countries with enough street images to be a class of the demo."""
RARE = ("IS",)
"""Countries with too few street images: the workflow drops them."""
TEST_SET_ONLY = ("IT", "ZA")
"""Countries that occur only in the photo test set."""
COUNTRIES = KEPT + RARE + TEST_SET_ONLY

LEFT_HAND_TRAFFIC = frozenset({"GB", "JP", "NA", "ZA"})

TABLE: dict[str, Weights] = {
    "side": {c: {"left" if c in LEFT_HAND_TRAFFIC else "right": 1.0} for c in COUNTRIES},
    "center_line": {
        "BR": {"yellow_dashed": 0.5, "yellow_double": 0.2, "white_dashed": 0.1, "none": 0.2},
        "FI": {"white_dashed": 0.5, "yellow_dashed": 0.25, "yellow_double": 0.05, "none": 0.2},
        "FR": {"white_dashed": 0.7, "white_solid": 0.1, "none": 0.2},
        "GB": {"white_dashed": 0.65, "white_solid": 0.15, "none": 0.2},
        "JP": {"white_dashed": 0.45, "white_solid": 0.2, "yellow_double": 0.25, "none": 0.1},
        "NA": {"white_dashed": 0.4, "white_solid": 0.1, "none": 0.5},
        "US": {"yellow_dashed": 0.4, "yellow_double": 0.45, "white_dashed": 0.05, "none": 0.1},
        "IS": {"white_dashed": 0.6, "white_solid": 0.1, "none": 0.3},
        "IT": {"white_dashed": 0.5, "white_solid": 0.3, "none": 0.2},
        "ZA": {"white_dashed": 0.5, "white_solid": 0.2, "yellow_dashed": 0.1, "none": 0.2},
    },
    "edge_line": {
        "BR": {"white_solid": 0.55, "none": 0.45},
        "FI": {"white_solid": 0.5, "white_dashed": 0.25, "none": 0.25},
        "FR": {"white_dashed": 0.65, "white_solid": 0.1, "none": 0.25},
        "GB": {"white_solid": 0.3, "white_dashed": 0.1, "yellow_solid": 0.3, "none": 0.3},
        "JP": {"white_solid": 0.7, "none": 0.3},
        "NA": {"yellow_solid": 0.4, "white_solid": 0.1, "none": 0.5},
        "US": {"white_solid": 0.75, "none": 0.25},
        "IS": {"white_dashed": 0.5, "white_solid": 0.1, "none": 0.4},
        "IT": {"white_solid": 0.7, "none": 0.3},
        "ZA": {"yellow_solid": 0.6, "white_solid": 0.1, "none": 0.3},
    },
    "surface": {
        "BR": {"gray": 0.4, "dark": 0.2, "gravel": 0.25, "pale": 0.15},
        "FI": {"gray": 0.4, "dark": 0.4, "gravel": 0.2},
        "FR": {"gray": 0.6, "dark": 0.2, "pale": 0.2},
        "GB": {"gray": 0.5, "dark": 0.5},
        "JP": {"gray": 0.6, "dark": 0.4},
        "NA": {"gravel": 0.45, "pale": 0.35, "gray": 0.2},
        "US": {"pale": 0.5, "gray": 0.4, "dark": 0.1},
        "IS": {"dark": 0.55, "gravel": 0.35, "gray": 0.1},
        "IT": {"gray": 0.6, "dark": 0.3, "pale": 0.1},
        "ZA": {"gray": 0.5, "pale": 0.3, "gravel": 0.2},
    },
    "bollard": {
        "BR": {"yellow": 0.2, "black_band": 0.2, "none": 0.6},
        "FI": {"black_band": 0.6, "orange": 0.1, "none": 0.3},
        "FR": {"red_band": 0.55, "black_band": 0.15, "none": 0.3},
        "GB": {"black_band": 0.35, "red_band": 0.15, "none": 0.5},
        "JP": {"orange": 0.5, "red_band": 0.1, "none": 0.4},
        "NA": {"red_band": 0.3, "yellow": 0.1, "none": 0.6},
        "US": {"yellow": 0.3, "orange": 0.2, "none": 0.5},
        "IS": {"yellow": 0.6, "red_band": 0.1, "none": 0.3},
        "IT": {"black_band": 0.6, "none": 0.4},
        "ZA": {"red_band": 0.2, "yellow": 0.3, "none": 0.5},
    },
    "pole": {
        "BR": {"concrete": 0.6, "wood_cross": 0.2, "steel": 0.1, "none": 0.1},
        "FI": {"wood_plain": 0.4, "wood_cross": 0.35, "none": 0.25},
        "FR": {"concrete": 0.4, "wood_plain": 0.3, "none": 0.3},
        "GB": {"wood_plain": 0.6, "wood_cross": 0.1, "steel": 0.1, "none": 0.2},
        "JP": {"concrete": 0.75, "steel": 0.15, "none": 0.1},
        "NA": {"wood_plain": 0.4, "wood_cross": 0.2, "none": 0.4},
        "US": {"wood_cross": 0.7, "steel": 0.15, "none": 0.15},
        "IS": {"wood_plain": 0.3, "wood_cross": 0.2, "steel": 0.2, "none": 0.3},
        "IT": {"concrete": 0.4, "steel": 0.3, "none": 0.3},
        "ZA": {"wood_plain": 0.4, "wood_cross": 0.2, "steel": 0.2, "none": 0.2},
    },
    "sign": {
        "BR": {"diamond_yellow": 0.4, "board_green": 0.3, "disc_red": 0.3},
        "FI": {"triangle_yellow": 0.4, "board_blue": 0.25, "disc_red": 0.15, "board_white": 0.2},
        "FR": {"triangle_white": 0.35, "disc_red": 0.2, "board_blue": 0.15, "board_white": 0.3},
        "GB": {"triangle_white": 0.35, "disc_red": 0.2, "board_green": 0.25, "board_white": 0.2},
        "JP": {"diamond_yellow": 0.25, "disc_red": 0.25, "board_blue": 0.4, "board_white": 0.1},
        "NA": {"triangle_white": 0.35, "disc_red": 0.2, "board_green": 0.25, "board_white": 0.2},
        "US": {"diamond_yellow": 0.4, "board_green": 0.3, "board_white": 0.3},
        "IS": {"triangle_yellow": 0.4, "board_blue": 0.2, "disc_red": 0.2, "board_white": 0.2},
        "IT": {"triangle_white": 0.35, "disc_red": 0.25, "board_blue": 0.2, "board_white": 0.2},
        "ZA": {"triangle_white": 0.35, "disc_red": 0.25, "board_green": 0.2, "board_blue": 0.2},
    },
    "roof": {
        "BR": {"terracotta": 0.6, "corrugated": 0.25, "flat": 0.15},
        "FI": {"red_metal": 0.4, "dark_tile": 0.35, "slate": 0.25},
        "FR": {"terracotta": 0.5, "slate": 0.35, "shingle": 0.15},
        "GB": {"slate": 0.5, "terracotta": 0.3, "shingle": 0.2},
        "JP": {"dark_tile": 0.5, "slate": 0.15, "flat": 0.35},
        "NA": {"corrugated": 0.55, "red_metal": 0.2, "flat": 0.25},
        "US": {"shingle": 0.55, "slate": 0.2, "flat": 0.25},
        "IS": {"red_metal": 0.35, "corrugated": 0.4, "flat": 0.25},
        "IT": {"terracotta": 0.75, "flat": 0.25},
        "ZA": {"terracotta": 0.3, "corrugated": 0.4, "dark_tile": 0.3},
    },
    "wall": {
        "BR": {"white": 0.3, "concrete": 0.25, "cream": 0.25, "yellow": 0.2},
        "FI": {"red": 0.4, "yellow": 0.3, "white": 0.3},
        "FR": {"cream": 0.5, "white": 0.3, "brick": 0.2},
        "GB": {"brick": 0.6, "white": 0.25, "cream": 0.15},
        "JP": {"concrete": 0.4, "cream": 0.3, "siding": 0.3},
        "NA": {"cream": 0.4, "white": 0.3, "concrete": 0.3},
        "US": {"siding": 0.5, "brick": 0.25, "white": 0.25},
        "IS": {"white": 0.4, "siding": 0.3, "concrete": 0.1, "red": 0.2},
        "IT": {"cream": 0.5, "yellow": 0.3, "white": 0.2},
        "ZA": {"brick": 0.4, "cream": 0.3, "white": 0.3},
    },
    "plant": {
        "BR": {"palm": 0.4, "broadleaf": 0.4, "bush": 0.2},
        "FI": {"conifer": 0.5, "birch": 0.4, "bush": 0.1},
        "FR": {"broadleaf": 0.5, "cypress": 0.2, "hedge": 0.3},
        "GB": {"broadleaf": 0.5, "hedge": 0.4, "conifer": 0.1},
        "JP": {"conifer": 0.4, "broadleaf": 0.35, "hedge": 0.25},
        "NA": {"acacia": 0.5, "bush": 0.4, "palm": 0.1},
        "US": {"broadleaf": 0.45, "conifer": 0.3, "bush": 0.15, "palm": 0.1},
        "IS": {"bush": 0.7, "birch": 0.2, "conifer": 0.1},
        "IT": {"cypress": 0.5, "broadleaf": 0.3, "palm": 0.2},
        "ZA": {"acacia": 0.4, "broadleaf": 0.3, "bush": 0.3},
    },
    "soil": {
        "BR": {"red": 0.5, "lush": 0.3, "meadow": 0.2},
        "FI": {"moss": 0.55, "meadow": 0.25, "lush": 0.1, "dark": 0.1},
        "FR": {"meadow": 0.55, "lush": 0.3, "dry": 0.15},
        "GB": {"lush": 0.7, "meadow": 0.3},
        "JP": {"lush": 0.35, "meadow": 0.3, "moss": 0.25, "dark": 0.1},
        "NA": {"sand": 0.5, "dry": 0.3, "red": 0.2},
        "US": {"dry": 0.45, "meadow": 0.3, "lush": 0.15, "sand": 0.1},
        "IS": {"moss": 0.45, "dark": 0.4, "dry": 0.15},
        "IT": {"dry": 0.5, "meadow": 0.5},
        "ZA": {"dry": 0.5, "red": 0.3, "meadow": 0.2},
    },
    "light": {
        "BR": {"hazy": 0.4, "clear": 0.4, "warm": 0.2},
        "FI": {"overcast": 0.4, "warm": 0.4, "clear": 0.2},
        "FR": {"clear": 0.45, "overcast": 0.35, "warm": 0.2},
        "GB": {"overcast": 0.65, "clear": 0.25, "hazy": 0.1},
        "JP": {"hazy": 0.4, "clear": 0.4, "overcast": 0.2},
        "NA": {"clear": 0.7, "warm": 0.3},
        "US": {"clear": 0.6, "warm": 0.25, "hazy": 0.15},
        "IS": {"overcast": 0.7, "clear": 0.2, "warm": 0.1},
        "IT": {"clear": 0.6, "warm": 0.4},
        "ZA": {"clear": 0.6, "warm": 0.3, "hazy": 0.1},
    },
    "hills": {
        "BR": {"rolling": 0.55, "none": 0.3, "mountains": 0.15},
        "FI": {"none": 0.6, "rolling": 0.4},
        "FR": {"rolling": 0.5, "none": 0.4, "mountains": 0.1},
        "GB": {"rolling": 0.6, "none": 0.4},
        "JP": {"mountains": 0.6, "rolling": 0.2, "none": 0.2},
        "NA": {"none": 0.5, "mesa": 0.3, "mountains": 0.2},
        "US": {"none": 0.4, "rolling": 0.25, "mesa": 0.2, "mountains": 0.15},
        "IS": {"mountains": 0.6, "mesa": 0.2, "rolling": 0.2},
        "IT": {"rolling": 0.5, "mountains": 0.3, "none": 0.2},
        "ZA": {"mesa": 0.4, "none": 0.4, "rolling": 0.2},
    },
    "setting": {
        "BR": {"town": 0.45, "village": 0.35, "open": 0.2},
        "FI": {"town": 0.15, "village": 0.4, "open": 0.45},
        "FR": {"town": 0.25, "village": 0.5, "open": 0.25},
        "GB": {"town": 0.35, "village": 0.4, "open": 0.25},
        "JP": {"town": 0.6, "village": 0.3, "open": 0.1},
        "NA": {"town": 0.1, "village": 0.3, "open": 0.6},
        "US": {"town": 0.2, "village": 0.45, "open": 0.35},
        "IS": {"town": 0.1, "village": 0.3, "open": 0.6},
        "IT": {"town": 0.4, "village": 0.4, "open": 0.2},
        "ZA": {"town": 0.2, "village": 0.4, "open": 0.4},
    },
}

DRAWN_PER_OBJECT = ("sign", "roof", "wall", "plant")
"""Marks drawn for each object; the others are drawn once per scene."""


OBJECT_MARKS = ("bollard", "pole", "roof", "sign", "wall")
"""Marks of objects along the road."""
BACKGROUND_MARKS = (
    "side",
    "center_line",
    "edge_line",
    "surface",
    "plant",
    "soil",
    "light",
    "hills",
)
"""Marks of everything else. `light` also tints the objects."""
SOURCE = "source"
"""The share of panoramas among a country's street images: not a mark of a scene, but it
tells countries apart, too."""
ALL_MARKS = (*TABLE, SOURCE)
"""`setting`, the number of houses in a scene, changes both objects and background. It and
`source` are informative only in the world `both`, or by name."""
INFORMATIVE = {
    "both": ALL_MARKS,
    "objects": OBJECT_MARKS,
    "background": BACKGROUND_MARKS,
    "none": (),
}


def informative_marks(informative: str | Iterable[str]) -> tuple[str, ...]:
    """Return the marks that tell countries apart in a world.

    Args:
        informative: a name in `INFORMATIVE`, or marks of `ALL_MARKS`.

    Raises:
        InputError: if a name or a mark does not exist.
    """
    if isinstance(informative, str):
        if informative not in INFORMATIVE:
            raise InputError(
                f"informative is {informative!r}: use {', '.join(INFORMATIVE)} or a list of marks"
            )
        return INFORMATIVE[informative]
    marks = tuple(informative)
    if unknown := [mark for mark in marks if mark not in ALL_MARKS]:
        raise InputError(f"no mark {unknown[0]!r}: marks are {', '.join(ALL_MARKS)}")
    return tuple(mark for mark in ALL_MARKS if mark in marks)


@cache
def world_table(informative: tuple[str, ...], difficulty: float = 0.0) -> dict[str, Weights]:
    """Return the weights of every mark in a world, in the form of `TABLE`.

    Args:
        informative: marks that differ between countries; see `informative_marks`.
        difficulty: from -1 to 1. 0 keeps the weights of `TABLE`. Above it, informative marks move
            toward the distribution shared by all countries; 1 makes all marks uninformative. Below
            it, each country's move toward its own most frequent value; at -1, it has no other.
    """
    table = {}
    for mark, weights in TABLE.items():
        moved = difficulty if mark in informative else 1.0
        if moved < 0:
            table[mark] = _sharpened(weights, -moved)
        else:
            table[mark] = _mixed(weights, moved) if moved else weights
    return table


def _sharpened(weights: Weights, share: float) -> Weights:
    """Give a share of each country's weight to its most frequent value, the first of equals."""
    sharpened = {}
    for country, values in weights.items():
        own = _normalised(values)
        usual = max(own, key=own.__getitem__)
        kept = {value: (1 - share) * weight for value, weight in own.items()}
        kept[usual] += share
        sharpened[country] = {value: weight for value, weight in kept.items() if weight > 0}
    return sharpened


def _mixed(weights: Weights, shared: float) -> Weights:
    """Mix a share of the kept countries' mean into the weights of a mark."""
    own = {country: _normalised(values) for country, values in weights.items()}
    names = sorted({value for country in KEPT for value in own[country]})
    mean = {value: sum(own[c].get(value, 0.0) for c in KEPT) / len(KEPT) for value in names}
    mixed = {}
    for country, values in own.items():
        union = [*names, *(value for value in values if value not in mean)]
        both = {v: (1 - shared) * values.get(v, 0.0) + shared * mean.get(v, 0.0) for v in union}
        mixed[country] = {value: weight for value, weight in both.items() if weight > 0}
    return mixed


def _normalised(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {value: weight / total for value, weight in weights.items()}


def draw_mark(
    mark: str, country: str, rng: np.random.Generator, table: dict[str, Weights] = TABLE
) -> str:
    """Draw a value of a mark with the weights of a country (ISO alpha-2 code)."""
    try:
        weights = table[mark][country]
    except KeyError:
        raise InputError(
            f"no mark {mark!r} for country {country!r}: "
            f"marks are {sorted(table)}, countries {sorted(COUNTRIES)}"
        ) from None
    shares = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=shares / shares.sum()))


@dataclass(frozen=True)
class Marks:
    """The marks of a scene; `draw` returns those that differ between objects."""

    country: str
    side: str
    center_line: str
    edge_line: str
    surface: str
    bollard: str
    pole: str
    soil: str
    light: str
    hills: str
    setting: str
    table: dict[str, Weights] = field(default_factory=lambda: TABLE, repr=False, compare=False)

    def draw(self, mark: str, rng: np.random.Generator) -> str:
        """Draw a value of `sign`, `roof`, `wall` or `plant` for one object."""
        return draw_mark(mark, self.country, rng, self.table)


def draw_marks(country: str, rng: np.random.Generator, table: dict[str, Weights] = TABLE) -> Marks:
    """Draw the marks of a scene in a country (ISO alpha-2 code)."""
    names = [mark for mark in TABLE if mark not in DRAWN_PER_OBJECT]
    values = {mark: draw_mark(mark, country, rng, table) for mark in names}
    return Marks(country, **values, table=table)
