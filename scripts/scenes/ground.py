"""Sky, hills, soil, the road and its lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenes import palette
from scenes.canvas import Canvas, Color
from scenes.light import noise
from scenes.marks import Marks

FAR = 400.0  # meters; where road and soil end
START = 1.2  # meters; nearer than anything visible


@dataclass(frozen=True)
class Road:
    """Sideways positions in meters: the road's edges and middle, and the pavement."""

    left: float
    right: float
    middle: float
    pavement: float  # width on either side, 0: none


def make_road(marks: Marks, rng: np.random.Generator) -> Road:
    """Lay a two-lane road; the camera drives on the country's side of traffic."""
    lane = rng.uniform(2.7, 3.6)
    middle = lane / 2 * (1 if marks.side == "left" else -1) + rng.uniform(-0.3, 0.3)
    pavement = rng.uniform(1.2, 2.4) if marks.setting == "town" else 0.0
    return Road(middle - lane - 0.3, middle + lane + 0.3, middle, pavement)


def strip(canvas: Canvas, left: float, right: float, near: float, far: float) -> np.ndarray:
    """Return the pixels (n, 2) of the ground from x = left to right (m), z = near to far (m)."""
    z = np.geomspace(near, far, max(2, int(8 * np.log(far / near)) + 2))
    ground = np.zeros_like(z)
    there = canvas.camera.project(np.stack([ground + left, ground, z], axis=1))
    back = canvas.camera.project(np.stack([ground + right, ground, z], axis=1)[::-1])
    return np.concatenate([there, back])


def draw_backdrop(canvas: Canvas, marks: Marks, soil: Color, rng: np.random.Generator) -> None:
    """Draw sky over the whole picture, then hills."""
    height, width = canvas.size
    sky = canvas.add("sky", depth=1.0, texture=0)
    canvas.fill(sky, _box(0, 0, width, height), (200, 210, 220))
    horizon = canvas.camera.horizon
    if marks.hills != "none":
        for layer in range(int(rng.integers(1, 3))):
            tall = {"rolling": 0.09, "mountains": 0.26, "mesa": 0.13}[marks.hills]
            tall *= height * rng.uniform(0.5, 1.2) * (1 - 0.35 * layer)
            hill = canvas.add("hill", depth=260.0 - 120 * layer, texture=9, grain=2)
            color = palette.mix(palette.HILL[marks.hills], soil, 0.35)
            canvas.fill(
                hill,
                _skyline(marks.hills, width, horizon + 2, tall, rng),
                palette.vary(color, rng),
            )


def draw_soil(canvas: Canvas, soil: Color, rng: np.random.Generator) -> None:
    """Draw the ground left and right of the road, two objects, and often distant trees."""
    height, width = canvas.size
    horizon = canvas.camera.horizon
    middle = canvas.camera.center
    for edges in ((0, middle), (middle, width)):
        number = canvas.add("ground", depth=0, texture=13, grain=int(rng.integers(0, 3)))
        canvas.fill(number, _box(edges[0], horizon, edges[1], height), soil)
    if rng.random() < 0.7:
        distance = 110.0
        belt = canvas.add("vegetation", depth=distance, texture=16, grain=0)
        foot = horizon + canvas.camera.scale(distance) * canvas.camera.height
        tall = height * rng.uniform(0.015, 0.05) + foot - horizon
        color = palette.mix(palette.PLANT["broadleaf"], soil, 0.3)
        canvas.fill(belt, _skyline("trees", width, foot, tall, rng), palette.vary(color, rng))


def draw_road(
    canvas: Canvas, marks: Marks, road: Road, soil: Color, rng: np.random.Generator
) -> None:
    """Draw pavement, curbs, the road and its lines."""
    shoulder = palette.mix(soil, (150, 140, 122), 0.5)
    for side, edge in ((-1, road.left), (1, road.right)):
        wide = road.pavement or rng.uniform(0.3, 1.0)
        number = canvas.add("pavement", depth=0, texture=6, grain=0)
        color = palette.vary((158, 154, 148), rng) if road.pavement else shoulder
        canvas.fill(number, strip(canvas, edge, edge + side * wide, START, FAR), color)
        if road.pavement:
            curb = canvas.add("curb", depth=0, texture=4)
            color = palette.vary((188, 186, 180), rng)
            canvas.fill(curb, strip(canvas, edge, edge + side * 0.22, START, FAR), color)
    surface = palette.vary(palette.SURFACE[marks.surface], rng)
    if marks.surface == "gravel":
        surface = palette.mix(surface, soil, 0.45)
    number = canvas.add("road", depth=0, texture=7, grain=0)
    canvas.fill(number, strip(canvas, road.left, road.right, START, FAR), surface)
    if marks.surface != "gravel":
        _draw_lines(canvas, marks, road, rng)


def _draw_lines(canvas: Canvas, marks: Marks, road: Road, rng: np.random.Generator) -> None:
    wear = rng.uniform(0.0, 0.25)
    for edge in (road.left + 0.35, road.right - 0.35):
        _draw_line(canvas, marks.edge_line, edge, wear, rng)
    _draw_line(canvas, marks.center_line, road.middle, wear, rng)


def _draw_line(canvas: Canvas, style: str, x: float, wear: float, rng: np.random.Generator) -> None:
    if style == "none":
        return
    paint, pattern = style.split("_")
    color = palette.mix(palette.LINE[paint], palette.SURFACE["gray"], wear)
    number = canvas.add("road_line", depth=0, texture=4)
    half = 0.085
    if pattern == "dashed":
        start = START + rng.uniform(0, 3)
        while start < 60:
            canvas.fill(number, strip(canvas, x - half, x + half, start, start + 2.5), color)
            start += 5.5
    else:
        for offset in (-0.16, 0.16) if pattern == "double" else (0.0,):
            middle = x + offset
            canvas.fill(number, strip(canvas, middle - half, middle + half, START, FAR), color)


def _box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def _skyline(
    shape: str, width: int, foot: float, tall: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the pixels (n, 2) of a silhouette on row `foot` that is `tall` pixels high."""
    count = 160
    columns = np.linspace(-0.02 * width, 1.02 * width, count)
    if shape == "trees":
        height = 0.7 + 0.3 * rng.random(count) + 0.4 * _curve(count, 12, rng)
    elif shape == "mountains":
        height = 0.5 + 0.5 * _curve(count, 30, rng) + 0.14 * _curve(count, 6, rng)
    elif shape == "mesa":
        height = 0.15 + np.clip(4 * _curve(count, 40, rng), 0, 0.85)
    else:
        height = 0.55 + 0.45 * _curve(count, 50, rng)
    top = np.stack([columns, foot - tall * np.maximum(height, 0.03)], axis=1)
    bottom = np.array([[columns[-1], foot], [columns[0], foot]])
    return np.concatenate([top, bottom])


def _curve(count: int, cell: int, rng: np.random.Generator) -> np.ndarray:
    return noise((1, count), cell, rng)[0]
