"""Cars."""

from __future__ import annotations

import numpy as np

from scenes import palette
from scenes.canvas import Canvas, Color


def draw_car(canvas: Canvas, x: float, z: float, oncoming: bool, rng: np.random.Generator) -> None:
    """Draw a car (kind `car`) on the ground; x is its middle, z its end toward the camera (m)."""
    number = canvas.add("car", depth=z, texture=2, grain=2)
    paint = palette.vary(palette.CARS[rng.integers(len(palette.CARS))], rng)
    half, length = rng.uniform(0.85, 0.95), rng.uniform(3.8, 4.6)
    roof = rng.uniform(1.4, 1.9)
    waist = 0.58 * roof
    canvas.shadow(x, z + length / 2, 2.5, length + 0.6)
    body = _Box(canvas, number, x, half)
    for wheel in (z + 0.75, z + length - 0.9):
        body.wheel(wheel, 0.33)
    body.draw(z, z + length, z, z + length, 0.22, waist, half, paint)
    hood = 1.2 if oncoming else 0.35
    tail = 0.35 if oncoming else 1.2
    body.draw(z + 0.1, z + length, z + hood, z + length - tail, waist, roof, 0.78 * half, paint)
    glass = (46, 56, 66)
    body.pane(z + 0.1, z + hood, waist, roof, 0.84 * half, 0.7 * half, glass)
    body.end(z, 0.24, 0.40, half, palette.shade(paint, 0.55))
    lamp = (246, 242, 220) if oncoming else (190, 24, 24)
    for side in (-1, 1):
        body.patch(z, side * 0.72 * half, 0.22, waist - 0.3, waist - 0.1, lamp)
    body.patch(z, 0, 0.26, 0.42, 0.54, (240, 240, 236))


class _Box:
    """Parts of a car with its middle at x and a body 2 * half wide (m)."""

    def __init__(self, canvas: Canvas, number: int, x: float, half: float) -> None:
        self.canvas, self.number, self.x, self.half = canvas, number, x, half
        self.inner = -1 if x > 0 else 1  # the side that the camera sees

    def draw(
        self,
        near: float,
        far: float,
        near_top: float,
        far_top: float,
        low: float,
        high: float,
        top: float,
        color: Color,
    ) -> None:
        """Draw side, top and end of a block that narrows from low to high."""
        x, half, flank = self.x, self.half, self.inner
        self._face(
            [
                (x + flank * half, low, near),
                (x + flank * half, low, far),
                (x + flank * top, high, far_top),
                (x + flank * top, high, near_top),
            ],
            palette.shade(color, 0.75),
        )
        self._face(
            [
                (x - top, high, near_top),
                (x + top, high, near_top),
                (x + top, high, far_top),
                (x - top, high, far_top),
            ],
            palette.shade(color, 1.12),
        )
        self._face(
            [
                (x - half, low, near),
                (x + half, low, near),
                (x + top, high, near_top),
                (x - top, high, near_top),
            ],
            color,
        )

    def pane(
        self,
        near: float,
        near_top: float,
        low: float,
        high: float,
        half: float,
        top: float,
        color: Color,
    ) -> None:
        rise = high - low
        share = 0.12
        bottom, upper = low + share * rise, high - share * rise
        z = near + share * (near_top - near), near_top - share * (near_top - near)
        x = self.x
        self._face(
            [
                (x - half, bottom, z[0]),
                (x + half, bottom, z[0]),
                (x + top, upper, z[1]),
                (x - top, upper, z[1]),
            ],
            color,
        )

    def end(self, z: float, low: float, high: float, half: float, color: Color) -> None:
        self.patch(z, 0, half, low, high, color)

    def patch(
        self, z: float, across: float, half: float, low: float, high: float, color: Color
    ) -> None:
        left, right = self.x + across - half, self.x + across + half
        self._face([(left, low, z), (right, low, z), (right, high, z), (left, high, z)], color)

    def wheel(self, z: float, radius: float) -> None:
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        for side in (-self.inner, self.inner):
            ring = np.stack(
                [
                    np.full(16, self.x + side * self.half),
                    radius * (1 + np.sin(angle)),
                    z + radius * np.cos(angle),
                ],
                axis=1,
            )
            self._face(ring, (28, 28, 30))
        for side in (-0.7, 0.7):
            self.patch(z - radius, side * self.half, 0.13, 0, 0.4, (28, 28, 30))

    def _face(self, corners: list | np.ndarray, color: Color) -> None:
        self.canvas.face(self.number, np.asarray(corners, dtype=float), color)
