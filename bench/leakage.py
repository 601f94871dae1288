"""What share of altered copies the hashes of the rule `leakage` find, and their false positives.

    python bench/leakage.py                           # scenes of the demo's generator
    python bench/leakage.py --photographs FOLDER      # also photos

Each picture is hashed as a street source prepares it (center square, 640 pixels) and, altered but
not cropped, as a test set does. Writes bench/results/leakage.json and prints a table.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from bench.rows import FOLDER, machine
from geoloc.evaluation.intervals import wilson_interval
from geoloc.evaluation.leakage import VIEWS, perceptual_hashes
from geoloc.images import Preparation, decode_image, prepare, read_file
from geoloc.progress import Progress
from scenes.draw import draw_scene
from scenes.marks import COUNTRIES

STREET = Preparation("center", 640)
BITS = range(0, 18, 2)  # pHash sets half of its bits, so two hashes differ in an even number
SHOWN = (0, 4, 6, 8, 10, 12, 16)
SHAPE = (480, 720)  # of a generated scene
LONGEST = 1600  # pixels; larger photos are reduced first

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """Return the bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def saved(kind: str, **options) -> Change:
    """Write the picture to a file and read it."""
    return lambda image, rng: Image.open(io.BytesIO(encoded(image, kind, **options))).convert("RGB")


def scaled(factor: float) -> Change:
    """Resize the picture."""
    return lambda image, rng: image.resize([max(1, round(side * factor)) for side in image.size])


def cropped(share: float, centered: bool) -> Change:
    """Crop the picture to this share of its width and height."""

    def crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = (round(side * share) for side in image.size)
        place = (0.5, 0.5) if centered else rng.random(2)
        left, top = int((image.width - width) * place[0]), int((image.height - height) * place[1])
        return image.crop((left, top, left + width, top + height))

    return crop


def brightened(factor: float) -> Change:
    """Multiply the pixels by a factor."""
    return lambda image, rng: ImageEnhance.Brightness(image).enhance(factor)


def rotated(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rotate by 2 degrees, and crop so that no black corner shows."""
    turned = image.rotate(2, Image.Resampling.BICUBIC)
    return cropped(0.94, centered=True)(turned, rng)


def watermarked(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Draw a line of text across the lower edge."""
    result, height = image.copy(), image.height // 12
    draw = ImageDraw.Draw(result)
    draw.text(
        (image.width * 0.05, image.height - 1.5 * height),
        "(c) 2026 A. Photographer",
        "white",
        font_size=height,
    )
    return result


CHANGES: dict[str, Change] = {
    "unchanged": lambda image, rng: image,
    "mirrored": lambda image, rng: ImageOps.mirror(image),
    "JPEG, quality 75": saved("JPEG", quality=75),
    "JPEG, quality 50": saved("JPEG", quality=50),
    "JPEG, quality 30": saved("JPEG", quality=30),
    "WebP, quality 50": saved("WEBP", quality=50),
    "scaled to 200 %": scaled(2),
    "scaled to 50 %": scaled(0.5),
    "scaled to 25 %": scaled(0.25),
    "brightness 60 %": brightened(0.6),
    "brightness 80 %": brightened(0.8),
    "brightness 120 %": brightened(1.2),
    "brightness 140 %": brightened(1.4),
    "gray": lambda image, rng: ImageOps.grayscale(image).convert("RGB"),
    "blurred, 3 pixels": lambda image, rng: image.filter(ImageFilter.GaussianBlur(3)),
    "text across the edge": watermarked,
    "rotated by 2°": rotated,
    "cropped to 90 %, centered": cropped(0.9, centered=True),
    "cropped to 90 %, anywhere": cropped(0.9, centered=False),
    "cropped to 80 %, centered": cropped(0.8, centered=True),
    "cropped to 80 %, anywhere": cropped(0.8, centered=False),
}


def scenes(count: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield country and picture of generated streets, with countries taking turns."""
    for number in Progress(range(count), count, "scenes"):
        country = sorted(COUNTRIES)[number % len(COUNTRIES)]
        scene = draw_scene(country, np.random.default_rng([2026, number]), SHAPE)
        yield country, Image.fromarray(scene.image)


def photographs(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield name and picture of each photo in a folder, upright, at most LONGEST pixels long."""
    paths = sorted(folder.glob("*.jpg"))
    for path in Progress(paths, len(paths), "photographs"):
        image = decode_image(prepare(read_file(path), Preparation()))
        image.thumbnail((LONGEST, LONGEST))
        yield path.stem, image


def hashes(
    pictures: Iterator[tuple[str, Image.Image]],
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Hash pictures as street images, and after each change.

    Returns:
        Names (n,), hashes (n, 4) of the `VIEWS` as street images, and hashes (n, 4) for each
        change.
    """
    rng = np.random.default_rng(0)
    names, street = [], []
    changed: dict[str, list] = {name: [] for name in CHANGES}
    for name, image in pictures:
        names.append(name)
        packed = prepare(encoded(image, "PNG", compress_level=1), STREET)
        street.append(perceptual_hashes(decode_image(packed)))
        for change, make in CHANGES.items():
            changed[change].append(perceptual_hashes(make(image, rng)))
    return np.array(names), np.array(street), {c: np.array(v) for c, v in changed.items()}


def differences(tests: np.ndarray, street: np.ndarray) -> np.ndarray:
    """Return the different bits (n, m) of test pictures (n, 4) and street images (m, 4).

    The nearest views count.
    """
    kinds = [VIEWS.index(view.partition("_")[0]) for view in VIEWS]
    pairs = [tests[:, None, view] ^ street[None, :, kind] for view, kind in enumerate(kinds)]
    return np.bitwise_count(np.stack(pairs)).min(axis=0)


def shares(bits: np.ndarray) -> dict:
    """Return the share of pairs within each number of bits, with 95 % intervals."""
    found = [int((bits <= limit).sum()) for limit in BITS]
    intervals = [wilson_interval(count, bits.size) for count in found]
    return {
        "pairs": int(bits.size),
        "share": {str(b): round(n / bits.size, 7) for b, n in zip(BITS, found, strict=True)},
        "interval": {
            str(b): [round(float(v), 7) for v in ends]
            for b, ends in zip(BITS, intervals, strict=True)
        },
    }


def measure(kind: str, pictures: Iterator[tuple[str, Image.Image]]) -> list[dict]:
    """Return a row for each change, and rows for pairs of different pictures."""
    names, street, changed = hashes(pictures)
    rows = []
    for change, tests in changed.items():
        rows.append(
            {"pictures": kind, "pairs of": change, **shares(differences(tests, street).diagonal())}
        )
    apart = ~np.eye(len(names), dtype=bool)
    other = names[:, None] != names
    nearest, plain = differences(changed["unchanged"], street), changed["unchanged"][:, None, 1]
    plain = np.bitwise_count(plain ^ street[None, :, 1])
    rows.append({"pictures": kind, "pairs of": "one hash, unchanged", **shares(plain.diagonal())})
    rows.append({"pictures": kind, "pairs of": "other pictures", **shares(nearest[apart])})
    rows.append({"pictures": kind, "pairs of": "other pictures, one hash", **shares(plain[apart])})
    if (other != apart).any():
        label = "other pictures, other country"
        rows.append({"pictures": kind, "pairs of": label, **shares(nearest[other])})
    return rows


def table(rows: list[dict]) -> str:
    """Return rows as a Markdown table, shares in percent."""
    lines = [
        "| pictures | pairs of | pairs | " + " | ".join(f"≤ {b}" for b in SHOWN) + " |",
        "|---|---|--:|" + "--:|" * len(SHOWN),
    ]
    for row in rows:
        cells = " | ".join(f"{100 * row['share'][str(b)]:.3g}" for b in SHOWN)
        lines.append(f"| {row['pictures']} | {row['pairs of']} | {row['pairs']:,} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--photographs", type=Path, help="a folder of different photographs")
    options = parser.parse_args()
    rows = measure("scenes", scenes(options.scenes))
    if options.photographs:
        rows += measure("photographs", photographs(options.photographs))
    path = FOLDER / "leakage.json"
    lines = ",\n ".join(json.dumps(row) for row in rows)
    path.write_text(f'{{"machine": {json.dumps(machine())}, "rows": [\n {lines}\n]}}\n')
    print(f"\n{table(rows)}\n\n{path}")


if __name__ == "__main__":
    main()
