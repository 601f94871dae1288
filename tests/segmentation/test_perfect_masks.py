"""Perfect masks are those of the generator, at the place of their objects in the stored image."""

import numpy as np
import perfect_masks
import pytest
from perfect_masks import NAMES, PerfectMasks, load, stored

from scenes.world import World, plan_world, scene_of, write_picture

WORLD = {"seed": 5, "images_per_country": 2, "countries": 2, "test_set_images": 1}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The first picture of each street source of a small world, with its file."""
    folder = tmp_path_factory.mktemp("world")
    plan = plan_world(folder, World(**WORLD))
    found = [plan.panoramas[-1], plan.squares[-1]]
    for picture in found:
        picture.path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(picture)
    return folder, found


def sky_ids(scene) -> list[int]:
    return [n for n, kind in scene.kinds.items() if kind == "sky"]


def test_every_large_object_is_one_segment_where_the_stored_image_shows_it(pictures):
    folder, (panorama, square) = pictures
    images = [stored(picture.path) for picture in (panorama, square)]
    for picture, segments in zip(
        (panorama, square), load(str(folder), **WORLD).segment(images), strict=True
    ):
        kinds = set(scene_of(picture).kinds.values())
        assert {NAMES[c].replace(" ", "_") for _, c, _ in segments} <= kinds
        assert all(p == 1 and mask.shape == (640, 640) for mask, _, p in segments)
        assert np.sum([mask for mask, _, _ in segments], axis=0).max() == 1  # no pixel is in two
    # A square is stored pixel by pixel: its sky is its sky.
    scene = scene_of(square)
    sky = next(
        mask
        for mask, c, _ in load(str(folder), **WORLD).segment(images[1:])[0]
        if NAMES[c] == "sky"
    )
    assert np.array_equal(sky, np.isin(scene.instances, sky_ids(scene)))


def test_a_panorama_is_cropped_as_it_is_stored(pictures):
    folder, (panorama, _) = pictures
    scene = scene_of(panorama)
    (segments,) = PerfectMasks(folder, World(**WORLD)).segment([stored(panorama.path)])
    sky = next(mask for mask, c, _ in segments if NAMES[c] == "sky")
    left = (scene.instances.shape[1] - 662) // 2
    cropped = scene.instances[:, left : left + 662]
    share = np.mean(np.isin(cropped, sky_ids(scene)))
    assert sky.mean() == pytest.approx(share, abs=0.01)


def test_an_image_of_another_world_is_refused(pictures):
    folder, _ = pictures
    with pytest.raises(ValueError, match="not of the world"):
        load(str(folder), **WORLD).segment([np.zeros((640, 640, 3), np.uint8)])


def test_the_world_is_read_once_for_all_shards_and_again_where_it_was_drawn_again(
    pictures, monkeypatch
):
    folder, found = pictures
    images = [stored(picture.path) for picture in found]
    expected = [[c for _, c, _ in each] for each in load(str(folder), **WORLD).segment(images)]
    read = []
    monkeypatch.setattr(perfect_masks, "stored", lambda path: read.append(path) or stored(path))
    again = load(str(folder), **WORLD).segment(images)
    assert [[c for _, c, _ in each] for each in again] == expected
    assert read == []
    write_picture(found[1])
    load(str(folder), **WORLD)
    assert read == [found[1].path]
