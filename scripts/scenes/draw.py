"""Draw a street scene of a country, with a mask for every object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scenes import buildings, ground, palette, roadside, vehicles
from scenes.canvas import Camera, Canvas
from scenes.light import Light
from scenes.marks import TABLE, Marks, Weights, draw_marks


@dataclass(frozen=True)
class Scene:
    """A picture and its contents.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        instances: int32 (H, W), the id of the object at each pixel.
        kinds: id -> kind, of the visible objects: sky, hill, ground, road, pavement, curb,
            road_line, house, roof, pole, bollard, sign, vegetation or car.
    """

    image: np.ndarray
    instances: np.ndarray
    kinds: dict[int, str]
    marks: Marks


def draw_scene(
    country: str,
    rng: np.random.Generator,
    size: tuple[int, int] = (640, 640),
    zoom: float = 1.0,
    table: dict[str, Weights] = TABLE,
) -> Scene:
    """Draw a street of a country. The same `rng` state and table give the same scene.

    Args:
        country: ISO alpha-2 code.
        rng: draws everything random.
        size: (height, width) of the picture in pixels.
        zoom: 1 is the view of a street-view camera, larger is narrower.
        table: weights of the marks, see `marks.world_table`.

    Raises:
        ValueError: if the country has no marks.
    """
    marks = draw_marks(country, rng, table)
    height, width = size
    camera = Camera(
        focal=0.78 * zoom * min(height, width * 1.2),
        horizon=height * rng.uniform(0.46, 0.56),
        center=width * rng.uniform(0.44, 0.56),
        height=rng.uniform(2.0, 2.7),
        bend=rng.normal(0, 0.0025),
    )
    canvas = Canvas(size, camera)
    light = palette.draw_light(marks.light, rng)
    soil = palette.vary(palette.SOIL[marks.soil], rng, 0.12)
    ground.draw_backdrop(canvas, marks, soil, rng)
    ground.draw_soil(canvas, soil, rng)
    road = ground.make_road(marks, rng)
    ground.draw_road(canvas, marks, road, soil, rng)
    _draw_objects(canvas, marks, road, light, rng)
    image, ids = light.apply(canvas, rng)
    visible = np.flatnonzero(np.bincount(ids.ravel()))
    kinds = {int(n): canvas.instances[int(n)].kind for n in visible if n}
    return Scene(image, ids, kinds, marks)


# An object to draw: its distance in meters and the function that draws it.
Job = tuple[float, Callable[[], object]]


def _draw_objects(
    canvas: Canvas, marks: Marks, road: ground.Road, light: Light, rng: np.random.Generator
) -> None:
    """Draw everything that stands on the ground, far objects first."""
    jobs: list[Job] = []
    for outwards, edge in ((-1, road.left), (1, road.right)):
        verge = edge + outwards * road.pavement
        jobs += _houses(canvas, marks, verge, outwards, light, rng)
        jobs += _plants(canvas, marks, verge, outwards, rng)
        jobs += _signs(canvas, marks, edge, outwards, rng)
        jobs += _bollards(canvas, marks, edge, outwards, rng)
    jobs += _poles(canvas, marks, road, rng)
    jobs += _cars(canvas, marks, road, rng)
    for _, draw in sorted(jobs, key=lambda job: -job[0]):
        draw()


def _houses(canvas, marks, verge, outwards, light, rng) -> list[Job]:
    share, first = {"town": (0.95, 9), "village": (0.6, 12), "open": (0.18, 18)}[marks.setting]
    jobs: list[Job] = []
    z = first + rng.uniform(-2, 6)
    while z < 75:
        if rng.random() < share:
            wall = marks.draw("wall", rng)
            roof = marks.draw("roof", rng)
            away = rng.uniform(1, 4) if marks.setting == "town" else rng.uniform(3, 9)
            house = buildings.make_house(verge + outwards * away, z, outwards, wall, roof, rng)
            jobs.append((z, _later(buildings.draw_house, canvas, house, light, rng)))
        z += rng.uniform(11, 20)
    return jobs


def _plants(canvas, marks, verge, outwards, rng) -> list[Job]:
    count = int(rng.poisson({"town": 2, "village": 4, "open": 5}[marks.setting]))
    jobs: list[Job] = []
    for _ in range(count):
        kind = marks.draw("plant", rng)
        z = float(np.exp(rng.uniform(np.log(7), np.log(70))))
        x = verge + outwards * rng.uniform(1.5, 5 + 0.25 * z)
        jobs.append((z, _later(roadside.draw_plant, canvas, kind, x, z, rng)))
    return jobs


def _signs(canvas, marks, edge, outwards, rng) -> list[Job]:
    jobs: list[Job] = []
    for _ in range(int(rng.choice([0, 1, 2], p=[0.45, 0.42, 0.13]))):
        style = marks.draw("sign", rng)
        z = rng.uniform(6, 24)
        x = edge + outwards * rng.uniform(0.5, 1.6)
        jobs.append((z, _later(roadside.draw_sign, canvas, style, x, z, rng)))
    return jobs


def _bollards(canvas, marks, edge, outwards, rng) -> list[Job]:
    if marks.bollard == "none" or rng.random() < 0.3:
        return []
    jobs: list[Job] = []
    z = rng.uniform(4.5, 7)
    while z < 26:
        x = edge + outwards * 0.45
        jobs.append((z, _later(roadside.draw_bollard, canvas, marks.bollard, x, z, rng)))
        z += rng.uniform(5, 8)
    return jobs


def _poles(canvas, marks, road, rng) -> list[Job]:
    if marks.pole == "none":
        return []
    outwards = rng.choice([-1, 1])
    edge = (road.right if outwards > 0 else road.left) + outwards * rng.uniform(0.7, 2.2)
    tall = rng.uniform(6, 8.5)
    jobs: list[Job] = []
    hooks: list[np.ndarray] = []
    z = rng.uniform(6.5, 12)
    while z < 42:

        def draw(z: float = z) -> None:
            hooks.append(roadside.draw_pole(canvas, marks.pole, edge, z, tall, rng))
            for far, near in zip(hooks[-2], hooks[-1], strict=True) if len(hooks) > 1 else ():
                canvas.wire(far.copy(), near.copy(), 0.4, (60, 60, 62))

        jobs.append((z, draw))
        z += rng.uniform(13, 18)
    return jobs


def _cars(canvas, marks, road, rng) -> list[Job]:
    busy = {"town": 2.2, "village": 1.1, "open": 0.6}[marks.setting]
    own = -1 if marks.side == "left" else 1
    jobs: list[Job] = []
    taken: list[tuple[int, float]] = []
    for _ in range(int(rng.poisson(busy))):
        oncoming = bool(rng.random() < 0.6)
        z = float(np.exp(rng.uniform(np.log(6 if oncoming else 8), np.log(45))))
        direction = -own if oncoming else own
        if any(direction == lane and abs(z - other) < 6 for lane, other in taken):
            continue
        taken.append((direction, z))
        half = (road.right - road.left) / 2
        x = road.middle + direction * half * rng.uniform(0.42, 0.58)
        jobs.append((z, _later(vehicles.draw_car, canvas, x, z, oncoming, rng)))
    return jobs


def _later(draw: Callable[..., object], *arguments) -> Callable[[], object]:
    return lambda: draw(*arguments)
