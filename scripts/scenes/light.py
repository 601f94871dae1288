"""Light of a scene: sky, haze, shadows, surface grain, camera noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from scenes.canvas import Canvas, Instance


@dataclass(frozen=True)
class Light:
    """Colors are RGB, 0–255; `gain` multiplies the channels; `haze` is a distance in meters."""

    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    gain: tuple[float, float, float]
    haze: float
    clouds: float  # largest share of cloud color, 0–1
    shadow: float  # share of light blocked by a shadow, 0–1
    sun: float  # -1 from the left, 1 from the right

    def apply(self, canvas: Canvas, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Light a scene; return image uint8 (H, W, 3) and ids int32 (H, W)."""
        color, ids = canvas.flat()
        image = color.astype(np.float32)
        image += _grain(ids, canvas, rng)[..., None]
        image *= self._shadows(ids, canvas)[..., None]
        image -= np.float32(self.horizon)
        image *= np.exp(_depth(ids, canvas) / -self.haze)[..., None]
        image += np.float32(self.horizon)
        self._fill_sky(image, ids, canvas, rng)
        image *= np.float32(self.gain)
        image += rng.standard_normal(ids.shape, dtype=np.float32)[..., None] * 2.0
        return np.clip(image, 0, 255, out=image).astype(np.uint8), ids

    def _fill_sky(
        self, image: np.ndarray, ids: np.ndarray, canvas: Canvas, rng: np.random.Generator
    ) -> None:
        """Paint the visible sky; it ends at the horizon."""
        rows = min(int(canvas.camera.horizon) + 3, len(ids))
        is_sky = _lookup(canvas, lambda instance: instance.kind == "sky", bool)[ids[:rows]]
        sky = self._sky((rows, ids.shape[1]), canvas.camera.horizon, rng)
        np.copyto(image[:rows], sky, where=is_sky[..., None])

    def _sky(self, shape: tuple[int, int], horizon: float, rng: np.random.Generator) -> np.ndarray:
        height = np.clip(1 - np.arange(shape[0], dtype=np.float32) / max(horizon, 1), 0, 1)
        blend = (height**0.6)[:, None, None]
        sky = np.float32(self.horizon) * (1 - blend) + np.float32(self.zenith) * blend  # (H, 1, 3)
        cover = noise(shape, max(shape[0] // 3, 8), rng) + 0.5 * noise(
            shape, max(shape[0] // 7, 4), rng
        )
        cover = np.clip(cover - 0.2, 0, 1)[..., None] * self.clouds
        return sky * (1 - cover) + np.float32([244, 245, 247]) * cover

    def _shadows(self, ids: np.ndarray, canvas: Canvas) -> np.ndarray:
        on_ground = _lookup(canvas, lambda instance: instance.depth == 0, np.float32)[ids]
        soft = cv2.blur(canvas.shade, (5, 5)).astype(np.float32) / 255
        return 1 - self.shadow * soft * on_ground


def noise(shape: tuple[int, int], cell: int, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise float32 (H, W), about -1 to 1, with features of `cell` pixels."""
    rows, columns = (side // cell + 2 for side in shape)
    small = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    large = cv2.resize(small, (columns * cell, rows * cell), interpolation=cv2.INTER_CUBIC)
    return large[: shape[0], : shape[1]]


def _lookup(canvas: Canvas, value: Callable[[Instance], float], dtype: type) -> np.ndarray:
    """Return a table from id to a value of the instance; 0 for id 0."""
    values = (value(canvas.instances[number]) for number in sorted(canvas.instances))
    return np.array([0, *values], dtype=dtype)


def _depth(ids: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Return the distance of every pixel in meters, float32 (H, W)."""
    depth = _lookup(canvas, lambda instance: instance.depth, np.float32)[ids]
    below = np.arange(ids.shape[0], dtype=np.float32) - canvas.camera.horizon
    ground = canvas.camera.focal * canvas.camera.height / np.maximum(below, 1)
    return np.where(depth == 0, ground[:, None], depth)


def _grain(ids: np.ndarray, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Return the texture of surfaces, float32 (H, W) in gray levels."""
    pixel = max(min(ids.shape) // 320, 1)
    fields = [noise(ids.shape, size * pixel, rng) for size in (1, 3, 9)]
    result = np.zeros(ids.shape, np.float32)
    for number, layer in enumerate(fields):
        amplitude = _lookup(
            canvas, lambda i, n=number: i.texture * (1.0 if i.grain == n else 0.45), np.float32
        )
        result += amplitude[ids] * layer
    return result
