"""Objects along the road: plants, utility poles, signs and bollards."""

from __future__ import annotations

import numpy as np

from scenes import palette
from scenes.canvas import Canvas, Color


def draw_plant(canvas: Canvas, kind: str, x: float, z: float, rng: np.random.Generator) -> None:
    """Draw a tree or bush (kind `vegetation`) at x, z (meters)."""
    number = canvas.add("vegetation", depth=z, texture=20, grain=int(rng.integers(0, 2)))
    shape = _Upright(canvas, number, x, z)
    leaf = palette.vary(palette.PLANT[kind], rng, 0.16)
    bark = palette.vary(palette.BARK.get(kind, (92, 74, 58)), rng)
    draw = {
        "broadleaf": _draw_broadleaf,
        "birch": _draw_broadleaf,
        "acacia": _draw_acacia,
        "conifer": _draw_conifer,
        "cypress": _draw_cypress,
        "palm": _draw_palm,
        "bush": _draw_bush,
        "hedge": _draw_hedge,
    }[kind]
    draw(shape, leaf, bark, rng)


class _Upright:
    """Draws flat shapes at one place, in meters right of and above its foot."""

    def __init__(self, canvas: Canvas, number: int, x: float, z: float) -> None:
        self.canvas, self.number, self.x, self.z = canvas, number, x, z

    def polygon(self, points: list | np.ndarray, color: Color) -> None:
        across, up = np.asarray(points, dtype=float).T
        world = np.stack([self.x + across, up, np.full_like(up, self.z)], axis=1)
        self.canvas.face(self.number, world, color)

    def box(self, left: float, right: float, low: float, high: float, color: Color) -> None:
        self.polygon([(left, low), (right, low), (right, high), (left, high)], color)

    def disc(self, across: float, up: float, radius: float, color: Color, corners: int = 24):
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius
        self.polygon(ring + [across, up], color)

    def blob(self, across: float, up: float, wide: float, tall: float, color: Color, rng) -> None:
        """Draw an ellipse with a ragged edge."""
        angle = np.linspace(0, 2 * np.pi, 22, endpoint=False)
        radius = 1 + 0.16 * rng.uniform(-1, 1, 22)
        ring = np.stack([np.cos(angle) * wide, np.sin(angle) * tall], axis=1) * radius[:, None]
        self.polygon(ring + [across, up], color)


def _draw_crown(
    shape: _Upright, up: float, wide: float, tall: float, leaf: Color, rng, lumps: int = 9
) -> None:
    """Draw lumps of leaves around (0, up), dark below and light above."""
    shape.canvas.shadow(shape.x, shape.z, wide * 2, wide * 1.2)
    shape.blob(0, up, wide * 0.85, tall * 0.85, palette.shade(leaf, 0.8), rng)
    places = rng.uniform(-0.6, 0.6, (lumps, 2))
    for across, above in sorted(places.tolist(), key=lambda place: place[1]):
        color = palette.shade(leaf, 0.92 + 0.3 * above)
        shape.blob(across * wide, up + above * tall, wide * 0.42, tall * 0.4, color, rng)


def _draw_broadleaf(shape: _Upright, leaf: Color, bark: Color, rng) -> None:
    tall = rng.uniform(4, 9)
    shape.box(-0.022 * tall, 0.022 * tall, 0, 0.6 * tall, bark)
    _draw_crown(shape, 0.64 * tall, rng.uniform(0.24, 0.42) * tall, 0.36 * tall, leaf, rng)


def _draw_acacia(shape: _Upright, leaf: Color, bark: Color, rng) -> None:
    tall = rng.uniform(3.5, 6)
    shape.box(-0.12, 0.12, 0, 0.5 * tall, bark)
    for lean in (-0.3, 0.3):
        end = lean * tall
        shape.polygon(
            [
                (-0.1, 0.4 * tall),
                (0.1, 0.4 * tall),
                (end + 0.1, 0.85 * tall),
                (end - 0.1, 0.85 * tall),
            ],
            bark,
        )
    _draw_crown(shape, 0.86 * tall, 0.62 * tall, 0.14 * tall, leaf, rng)


def _draw_conifer(shape: _Upright, leaf: Color, bark: Color, rng) -> None:
    tall = rng.uniform(5, 11)
    wide = tall * rng.uniform(0.16, 0.24)
    shape.canvas.shadow(shape.x, shape.z, wide * 2, wide)
    shape.box(-0.15, 0.15, 0, 0.2 * tall, bark)
    for level in range(5):
        low, part = (0.1 + 0.16 * level) * tall, 1 - 0.17 * level
        ragged = rng.uniform(0.85, 1.1, 2) * wide * part
        shape.polygon(
            [(-ragged[0], low), (0, low - 0.03 * tall), (ragged[1], low), (0, low + 0.3 * tall)],
            palette.shade(leaf, 0.85 + 0.08 * level),
        )


def _draw_cypress(shape: _Upright, leaf: Color, bark: Color, rng) -> None:
    tall = rng.uniform(5, 9)
    shape.box(-0.12, 0.12, 0, 0.2 * tall, bark)
    shape.canvas.shadow(shape.x, shape.z, 0.3 * tall, 0.2 * tall)
    shape.blob(0, 0.54 * tall, 0.1 * tall, 0.46 * tall, leaf, rng)
    shape.blob(0.02 * tall, 0.6 * tall, 0.06 * tall, 0.36 * tall, palette.shade(leaf, 1.15), rng)


def _draw_palm(shape: _Upright, leaf: Color, bark: Color, rng) -> None:
    tall, lean = rng.uniform(4.5, 9), rng.uniform(-0.5, 0.5)
    shape.polygon([(-0.2, 0), (0.2, 0), (lean + 0.13, tall), (lean - 0.13, tall)], bark)
    shape.canvas.shadow(shape.x, shape.z, 3, 2)
    length = rng.uniform(1.6, 2.4)
    for angle in np.linspace(-0.5, np.pi + 0.5, 11) + rng.uniform(-0.1, 0.1, 11):
        share = np.linspace(0, 1, 6)
        along = share * length * np.cos(angle)
        up = share * length * np.sin(angle) * 0.7 - 0.7 * share**2 * length * 0.8
        thick = 0.2 * np.sin(np.pi * np.clip(share, 0.08, 0.97))
        upper = np.stack([lean + along, tall + up + thick], axis=1)
        lower = np.stack([lean + along, tall + up - thick], axis=1)[::-1]
        shape.polygon(np.concatenate([upper, lower]), palette.vary(leaf, rng, 0.15))


def _draw_bush(shape: _Upright, leaf: Color, bark: Color, rng) -> None:
    tall = rng.uniform(0.8, 2.2)
    _draw_crown(shape, 0.42 * tall, 0.75 * tall, 0.5 * tall, leaf, rng, lumps=6)


def _draw_hedge(shape: _Upright, leaf: Color, bark: Color, rng) -> None:
    tall, half = rng.uniform(1.0, 2.0), rng.uniform(1.8, 3.5)
    shape.canvas.shadow(shape.x, shape.z, 2 * half, 1.5)
    across = np.linspace(half, -half, 18)
    top = tall + 0.12 * rng.uniform(-1, 1, 18)
    shape.polygon([(-half, 0), (half, 0), *zip(across, top, strict=True)], leaf)
    shape.polygon(
        [*zip(across, top, strict=True), *zip(across[::-1], top[::-1] - 0.3, strict=True)],
        palette.shade(leaf, 1.2),
    )


def draw_pole(
    canvas: Canvas, style: str, x: float, z: float, tall: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw a utility pole (kind `pole`); return where its wires hang, (2, 3) in meters."""
    number = canvas.add("pole", depth=z, texture=5, grain=0)
    shape = _Upright(canvas, number, x, z)
    color = palette.vary(palette.POLE[style], rng)
    foot, top = (0.24, 0.17) if style == "concrete" else (0.19, 0.14)
    shape.polygon([(-foot, 0), (foot, 0), (top, tall), (-top, tall)], color)
    shape.polygon(
        [(0.3 * foot, 0), (foot, 0), (top, tall), (0.3 * top, tall)], palette.shade(color, 0.78)
    )
    arm = {"wood_cross": 1.25, "concrete": 0.8, "steel": 0.0, "wood_plain": 0.0}[style]
    for level in (0.95, 0.87)[: 2 if style == "concrete" else 1]:
        if arm:
            height = level * tall
            shape.box(-arm, arm, height, height + 0.2, palette.shade(color, 0.85))
    if style == "concrete" and rng.random() < 0.6:
        shape.box(-0.75, -0.2, 0.66 * tall, 0.66 * tall + 0.95, (128, 132, 132))
    if style == "steel":
        shape.box(-1.5, 0.1, tall - 0.2, tall, color)
        shape.box(-1.7, -1.0, tall - 0.3, tall - 0.12, (210, 210, 200))
    half = arm or 0.15
    return np.array([[x - half, 0.96 * tall, z], [x + half, 0.96 * tall, z]])


def draw_sign(canvas: Canvas, style: str, x: float, z: float, rng: np.random.Generator) -> None:
    """Draw a traffic sign on its post (kind `sign`)."""
    number = canvas.add("sign", depth=z, texture=2, grain=0)
    shape = _Upright(canvas, number, x, z)
    form, color_name = style.split("_")
    size = rng.uniform(0.42, 0.6)
    tall = rng.uniform(2.0, 2.7)
    shape.box(-0.06, 0.06, 0, tall + size, palette.vary((142, 146, 150), rng))
    if form == "board":
        _draw_board(shape, color_name, tall, size, rng)
    elif form == "disc":
        fill = (240, 238, 232)
        shape.disc(0, tall + size, size, (196, 30, 36))
        shape.disc(0, tall + size, size * 0.74, fill)
        shape.box(-0.35 * size, -0.05 * size, tall + 0.7 * size, tall + 1.3 * size, (30, 30, 30))
        shape.box(0.08 * size, 0.4 * size, tall + 0.7 * size, tall + 1.3 * size, (30, 30, 30))
    else:
        corners = {"triangle": 3, "diamond": 4}[form]
        edge = (196, 30, 36) if form == "triangle" else (40, 38, 30)
        fill = (244, 242, 236) if color_name == "white" else (246, 196, 40)
        _draw_corners(shape, corners, tall + size, size * 1.25, edge)
        _draw_corners(
            shape, corners, tall + size, size * (0.82 if form == "triangle" else 1.14), fill
        )
        shape.box(-0.08 * size, 0.08 * size, tall + 0.7 * size, tall + 1.35 * size, (30, 30, 30))


def _draw_corners(shape: _Upright, corners: int, up: float, radius: float, color: Color) -> None:
    angle = np.pi / 2 + 2 * np.pi * np.arange(corners) / corners
    shape.polygon(np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius + [0, up], color)


def _draw_board(shape: _Upright, color: str, low: float, size: float, rng) -> None:
    fill = {"green": (22, 104, 66), "blue": (28, 78, 160), "white": (238, 236, 230)}[color]
    text = (40, 40, 40) if color == "white" else (240, 240, 236)
    half, high = size * rng.uniform(1.3, 2.0), low + size * rng.uniform(1.3, 1.9)
    shape.box(-half, half, low, high, text)
    shape.box(-half + 0.04, half - 0.04, low + 0.04, high - 0.04, fill)
    for row in range(2):
        top = high - (0.28 + 0.42 * row) * (high - low)
        end = half * rng.uniform(-0.1, 0.8)
        shape.box(-0.8 * half, end, top - 0.16 * (high - low), top, text)


def draw_bollard(canvas: Canvas, style: str, x: float, z: float, rng: np.random.Generator) -> None:
    """Draw a roadside marker post (kind `bollard`)."""
    number = canvas.add("bollard", depth=z, texture=2, grain=0)
    shape = _Upright(canvas, number, x, z)
    body = {"yellow": (232, 180, 36), "orange": (226, 100, 36)}.get(style, (232, 230, 224))
    band = {"red_band": (186, 34, 34), "black_band": (34, 34, 36)}.get(style, (238, 236, 230))
    half, tall = 0.13, rng.uniform(0.95, 1.15)
    body = palette.vary(body, rng, 0.06)
    shape.polygon([(-half, 0), (half, 0), (half, tall - 0.06), (-half, tall + 0.06)], body)
    shape.box(-half, half, 0.68 * tall, 0.88 * tall, band)
