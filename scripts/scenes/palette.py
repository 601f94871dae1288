"""Colors (RGB, 0–255) of the marks' values, and light by name."""

from __future__ import annotations

import numpy as np

from scenes.canvas import Color
from scenes.light import Light

SOIL: dict[str, Color] = {
    "lush": (84, 128, 54),
    "meadow": (126, 140, 68),
    "dry": (176, 158, 98),
    "red": (166, 98, 62),
    "sand": (206, 176, 132),
    "moss": (98, 104, 62),
    "dark": (84, 80, 74),
}
SURFACE: dict[str, Color] = {
    "dark": (78, 78, 82),
    "gray": (112, 112, 114),
    "pale": (148, 145, 138),
    "gravel": (150, 134, 112),
}
LINE: dict[str, Color] = {"white": (226, 226, 220), "yellow": (222, 170, 40)}
ROOF: dict[str, Color] = {
    "terracotta": (178, 92, 58),
    "slate": (86, 92, 104),
    "red_metal": (140, 46, 42),
    "dark_tile": (58, 62, 72),
    "corrugated": (158, 162, 162),
    "shingle": (112, 98, 86),
    "flat": (128, 126, 122),
}
WALL: dict[str, Color] = {
    "brick": (152, 84, 66),
    "white": (228, 226, 218),
    "cream": (220, 200, 160),
    "red": (138, 50, 40),
    "yellow": (222, 186, 96),
    "siding": (176, 190, 198),
    "concrete": (168, 164, 156),
}
PLANT: dict[str, Color] = {
    "broadleaf": (70, 112, 44),
    "hedge": (58, 96, 40),
    "conifer": (38, 72, 44),
    "birch": (116, 140, 58),
    "palm": (84, 124, 52),
    "acacia": (104, 112, 52),
    "bush": (102, 110, 62),
    "cypress": (36, 66, 40),
}
BARK: dict[str, Color] = {"birch": (214, 212, 204), "palm": (140, 122, 96)}
POLE: dict[str, Color] = {
    "wood_cross": (104, 82, 60),
    "wood_plain": (112, 92, 70),
    "concrete": (168, 164, 156),
    "steel": (138, 144, 150),
}
CARS: tuple[Color, ...] = (
    (222, 222, 222),
    (38, 40, 44),
    (150, 154, 158),
    (160, 34, 34),
    (36, 66, 128),
    (92, 98, 90),
    (196, 160, 60),
)
HILL: dict[str, Color] = {
    "rolling": (98, 122, 78),
    "mountains": (92, 106, 98),
    "mesa": (160, 116, 86),
}
LIGHT: dict[str, Light] = {
    "overcast": Light((176, 184, 194), (208, 212, 216), (0.90, 0.92, 0.96), 260, 0.8, 0.18, 0),
    "clear": Light((62, 118, 196), (186, 210, 232), (1.06, 1.05, 1.02), 600, 0.7, 0.50, 0),
    "warm": Light((98, 134, 190), (242, 206, 158), (1.10, 0.99, 0.84), 380, 0.5, 0.45, 0),
    "hazy": Light((168, 186, 202), (226, 226, 218), (1.04, 1.04, 1.00), 150, 0.5, 0.25, 0),
}


def vary(color: Color, rng: np.random.Generator, amount: float = 0.10) -> Color:
    """Vary a color: brightness by `amount`, each channel by a third of it."""
    factor = 1 + rng.uniform(-amount, amount) + rng.uniform(-amount / 3, amount / 3, 3)
    return tuple(np.asarray(color) * factor)


def shade(color: Color, factor: float) -> Color:
    """Return a color in more (factor > 1) or less light."""
    return tuple(value * factor for value in color)


def mix(first: Color, second: Color, share: float) -> Color:
    """Blend two colors with a share of the second."""
    return tuple(a + share * (b - a) for a, b in zip(first, second, strict=True))


def draw_light(name: str, rng: np.random.Generator) -> Light:
    """Return the named light with random sun, haze, cloud cover and white balance."""
    base = LIGHT[name]
    tint = rng.uniform(0.95, 1.05, 3) * rng.uniform(0.86, 1.08)
    return Light(
        zenith=vary(base.zenith, rng, 0.08),
        horizon=vary(base.horizon, rng, 0.04),
        gain=tuple(np.asarray(base.gain) * tint),
        haze=base.haze * rng.uniform(0.7, 1.5),
        clouds=base.clouds * rng.uniform(0.2, 1.2),
        shadow=base.shadow * rng.uniform(0.8, 1.1),
        sun=rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1.0),
    )
