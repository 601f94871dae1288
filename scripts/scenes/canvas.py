"""A picture, the objects in it, and its camera.

World coordinates are in meters: x to the right of the camera, y up from the ground, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

Color = tuple[float, float, float]
SUPERSAMPLING = 2
FRACTION_BITS = 4  # of OpenCV's fixed-point coordinates
NEAREST = 1.0  # meters; anything nearer to the camera is cut off


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along the road.

    Attributes:
        focal: focal length in pixels.
        horizon: row of the vanishing point.
        center: column of the vanishing point.
        height: height of the lens in meters.
        bend: sideways shift of the road in meters per square meter of distance.
    """

    focal: float
    horizon: float
    center: float
    height: float = 2.4
    bend: float = 0.0

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project points (n, 3), x/y/z in meters, to pixels (n, 2), column and row."""
        x, y, z = np.asarray(points, dtype=float).reshape(-1, 3).T
        z = np.maximum(z, NEAREST)
        shifted = x + self.bend * z**2
        return np.stack(
            [
                self.center + self.focal * shifted / z,
                self.horizon + self.focal * (self.height - y) / z,
            ],
            axis=1,
        )

    def scale(self, z: float) -> float:
        """Return the number of pixels per meter at distance z."""
        return self.focal / max(z, NEAREST)


@dataclass
class Instance:
    """What the lighting needs to know of an object."""

    kind: str
    depth: float  # meters; 0: lies on the ground, so depth follows from the row
    texture: float  # amplitude of its grain, in gray levels
    grain: int = 1  # size of its grain: 0 fine, 1 medium, 2 coarse


@dataclass
class Canvas:
    """Draws polygons of objects, nearer over farther, and records which pixel belongs to which."""

    size: tuple[int, int]
    camera: Camera
    instances: dict[int, Instance] = field(default_factory=dict)

    def __post_init__(self) -> None:
        height, width = (side * SUPERSAMPLING for side in self.size)
        self.color = np.zeros((height, width, 3), np.uint8)
        self.ids = np.zeros((height, width), np.int32)
        self.shade = np.zeros(self.size, np.uint8)

    def add(self, kind: str, depth: float, texture: float = 4.0, grain: int = 1) -> int:
        """Register an object and return its id (from 1)."""
        number = len(self.instances) + 1
        self.instances[number] = Instance(kind, depth, texture, grain)
        return number

    def fill(self, number: int, pixels: np.ndarray, color: Color) -> None:
        """Fill a polygon, pixels (n, 2) as column and row, that belongs to object `number`."""
        points = _fixed_point(pixels, SUPERSAMPLING)
        cv2.fillPoly(self.color, [points], _clip(color), cv2.LINE_8, FRACTION_BITS)
        cv2.fillPoly(self.ids, [points], number, cv2.LINE_8, FRACTION_BITS)

    def face(self, number: int, corners: np.ndarray, color: Color) -> None:
        """Fill a polygon in world coordinates, corners (n, 3) in meters."""
        self.fill(number, self.camera.project(corners), color)

    def wire(self, start: np.ndarray, end: np.ndarray, sag: float, color: Color) -> None:
        """Draw a hanging wire between two world points (3,). It belongs to no object."""
        share = np.linspace(0, 1, 12)[:, None]
        points = start + share * (end - start)
        points[:, 1] -= 4 * sag * (share * (1 - share))[:, 0]
        pixels = _fixed_point(self.camera.project(points), SUPERSAMPLING)
        cv2.polylines(self.color, [pixels], False, _clip(color), 1, cv2.LINE_AA, FRACTION_BITS)

    def shadow(self, x: float, z: float, width: float, length: float) -> None:
        """Darken an ellipse on the ground: center x, z and full axes in meters."""
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        ring = np.stack(
            [x + width / 2 * np.cos(angle), 0 * angle, z + length / 2 * np.sin(angle)], axis=1
        )
        pixels = _fixed_point(self.camera.project(ring), 1)
        cv2.fillPoly(self.shade, [pixels], 255, cv2.LINE_AA, FRACTION_BITS)

    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the unlit picture: colors uint8 (H, W, 3) and ids int32 (H, W)."""
        height, width = self.size
        color = cv2.resize(self.color, (width, height), interpolation=cv2.INTER_AREA)
        return color, np.ascontiguousarray(self.ids[::SUPERSAMPLING, ::SUPERSAMPLING])


def _fixed_point(pixels: np.ndarray, scale: int) -> np.ndarray:
    limit = 2.0**14  # far outside every picture, without overflow in OpenCV
    pixels = np.clip(np.asarray(pixels, dtype=float), -limit, limit)
    return np.round(pixels * scale * 2**FRACTION_BITS).astype(np.int32)


def _clip(color: Color) -> tuple[int, ...]:
    return tuple(int(min(max(value, 0), 255)) for value in color)
