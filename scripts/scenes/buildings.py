"""Houses: walls with windows (kind `house`) and the roof above them (kind `roof`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenes import palette
from scenes.canvas import Canvas, Color
from scenes.light import Light


@dataclass(frozen=True)
class House:
    """A box next to the road, in meters. `x` is the wall facing the road, `outwards` is -1 or 1."""

    x: float
    z: float
    outwards: int
    width: float  # across the road
    length: float  # along the road
    eave: float
    ridge: float
    gable_to_camera: bool
    wall: str
    roof: str


def make_house(
    x: float, z: float, outwards: int, wall: str, roof: str, rng: np.random.Generator
) -> House:
    """Make a house with one to three floors (more under flat roofs)."""
    floors = int(rng.choice([1, 2, 3], p=[0.5, 0.38, 0.12]))
    eave = 2.9 * floors + rng.uniform(-0.2, 0.5)
    return House(
        x=x,
        z=z,
        outwards=outwards,
        width=rng.uniform(6, 11),
        length=rng.uniform(6, 11),
        eave=eave,
        ridge=eave + rng.uniform(1.8, 3.6),
        gable_to_camera=bool(rng.random() < 0.5),
        wall=wall,
        roof=roof,
    )


def draw_house(canvas: Canvas, house: House, light: Light, rng: np.random.Generator) -> None:
    """Draw the two visible walls, their windows and door, and the roof."""
    near, far = house.z, house.z + house.length
    inner, outer = house.x, house.x + house.outwards * house.width
    wall = palette.vary(palette.WALL[house.wall], rng)
    sunny = light.sun * -house.outwards  # the wall along the road faces against `outwards`
    side_light, front_light = 0.88 + 0.14 * sunny, 0.92 - 0.08 * sunny
    canvas.shadow((inner + outer) / 2, near, house.width * 1.2, house.length * 0.9)
    number = canvas.add("house", depth=near, texture=6, grain=0)
    side = _Wall(canvas, number, (inner, far), (inner, near))
    front = _Wall(canvas, number, (inner, near), (outer, near))
    trim = palette.vary((235, 232, 225), rng) if rng.random() < 0.7 else palette.shade(wall, 0.6)
    for face, bright in ((side, side_light), (front, front_light)):
        face.rectangle(0, 1, 0, house.eave, palette.shade(wall, bright))
    if house.roof != "flat":
        gable = front if house.gable_to_camera else side
        bright = front_light if house.gable_to_camera else side_light
        gable.gable(house.eave, house.ridge, palette.shade(wall, bright))
    _draw_windows(side, house.length, house.eave, trim, door=rng.random() < 0.5, rng=rng)
    _draw_windows(front, house.width, house.eave, trim, door=rng.random() < 0.4, rng=rng)
    _draw_roof(canvas, house, light, rng)


@dataclass(frozen=True)
class _Wall:
    """A vertical wall between two points (x, z) on the ground."""

    canvas: Canvas
    number: int
    start: tuple[float, float]
    end: tuple[float, float]

    def point(self, along: float, height: float) -> tuple[float, float, float]:
        x, z = (a + along * (b - a) for a, b in zip(self.start, self.end, strict=True))
        return x, height, z

    def rectangle(self, left: float, right: float, low: float, high: float, color: Color):
        corners = [(left, low), (right, low), (right, high), (left, high)]
        points = np.array([self.point(*corner) for corner in corners])
        self.canvas.face(self.number, points, color)

    def gable(self, eave: float, ridge: float, color: Color) -> None:
        points = np.array([self.point(0, eave), self.point(1, eave), self.point(0.5, ridge)])
        self.canvas.face(self.number, points, color)


def _draw_windows(
    wall: _Wall, length: float, eave: float, trim: Color, door: bool, rng: np.random.Generator
) -> None:
    columns = max(int(length // rng.uniform(2.2, 3.4)), 1)
    glass = palette.vary((62, 74, 88), rng, 0.25)
    half = 0.5 * rng.uniform(0.9, 1.4) / length
    for floor in range(max(int(eave // 2.7), 1)):
        low = 2.9 * floor + 0.95
        for column in range(columns):
            middle = (column + 0.5) / columns
            if door and floor == 0 and column == columns // 2:
                wall.rectangle(middle - half, middle + half, 0, 2.1, palette.shade(trim, 0.55))
                continue
            frame = 0.09 / length
            wall.rectangle(
                middle - half - frame, middle + half + frame, low - 0.09, low + 1.3, trim
            )
            wall.rectangle(middle - half, middle + half, low, low + 1.2, glass)


def _draw_roof(canvas: Canvas, house: House, light: Light, rng: np.random.Generator) -> None:
    near, far = house.z, house.z + house.length
    inner, outer = house.x, house.x + house.outwards * house.width
    over = 0.4  # overhang of the roof in meters
    eave_x = inner - house.outwards * over
    color = palette.vary(palette.ROOF[house.roof], rng)
    number = canvas.add("roof", depth=near, texture=9, grain=0)
    if house.roof == "flat":
        wide = np.array([eave_x, outer + house.outwards * over])
        for start, end in (((eave_x, far), (eave_x, near)), ((wide[0], near), (wide[1], near))):
            band = _Wall(canvas, number, start, end)
            band.rectangle(0, 1, house.eave, house.eave + 0.6, color)
        return
    low = house.eave - 0.1
    if house.gable_to_camera:
        middle = (inner + outer) / 2
        slope = [
            (eave_x, low, near - over),
            (eave_x, low, far + over),
            (middle, house.ridge, far + over),
            (middle, house.ridge, near - over),
        ]
        edge = [
            (eave_x, low, near - over),
            (middle, house.ridge, near - over),
            (outer + house.outwards * over, low, near - over),
        ]
        canvas.face(number, np.array(slope), palette.shade(color, 1 + 0.1 * light.sun))
        for start, end in zip(edge, edge[1:], strict=False):
            board = np.array([start, end, end, start])
            board[2:, 1] -= 0.35
            canvas.face(number, board, palette.shade(color, 0.8))
        return
    middle = near + house.length / 2
    slope = [
        (eave_x, low, near - over),
        (outer + house.outwards * over, low, near - over),
        (outer + house.outwards * over, house.ridge, middle),
        (eave_x, house.ridge, middle),
    ]
    pixels = canvas.camera.project(np.array(slope))
    if pixels[3, 1] < pixels[0, 1]:  # the ridge appears above the eave
        canvas.fill(number, pixels, palette.shade(color, 1 - 0.1 * light.sun))
