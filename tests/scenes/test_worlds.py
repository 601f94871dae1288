"""Worlds whose answer is known: only the informative marks tell countries apart."""

import numpy as np
import pytest

from scenes import marks, world
from scenes.draw import draw_scene
from scenes.world import World

WORLDS = ("both", "objects", "background", "none")


def shares(table, mark, countries=marks.COUNTRIES):
    """P(value | country), rounded: one dictionary for each country."""
    rows = (table[mark][country] for country in countries)
    return [{v: round(w / sum(row.values()), 9) for v, w in row.items() if w} for row in rows]


@pytest.mark.parametrize("name", WORLDS)
def test_only_informative_marks_differ_between_countries(name):
    informative = marks.informative_marks(name)
    table = marks.world_table(informative)
    differing = {
        mark for mark in table if any(row != shares(table, mark)[0] for row in shares(table, mark))
    }
    assert differing == set(informative) - {marks.SOURCE}


def test_an_uninformative_mark_has_the_mean_of_the_kept_countries():
    table = marks.world_table(())
    own = [row.get("steel", 0) for row in shares(marks.TABLE, "pole", marks.KEPT)]
    assert shares(table, "pole")[0]["steel"] == pytest.approx(np.mean(own), abs=1e-8)


def test_difficulty_moves_informative_marks_towards_the_mean():
    plain, half, all_alike = (
        shares(marks.world_table(("pole",), d), "pole")[0]["concrete"] for d in (0, 0.5, 1)
    )
    assert half == pytest.approx((plain + all_alike) / 2, abs=1e-8)
    assert plain != all_alike == shares(marks.world_table(()), "pole")[0]["concrete"]


def test_negative_difficulty_moves_informative_marks_towards_the_most_frequent_value():
    plain, half, easiest = (shares(marks.world_table(("pole",), d), "pole") for d in (0, -0.5, -1))
    for before, between, after in zip(plain, half, easiest, strict=True):
        usual = max(before, key=before.get)
        assert after == {usual: 1}
        assert between[usual] == pytest.approx((before[usual] + 1) / 2, abs=1e-8)
        assert sum(between.values()) == pytest.approx(1, abs=1e-7)


def test_negative_difficulty_leaves_other_marks_and_the_sources_of_images():
    easy, plain = (marks.world_table(("pole",), d) for d in (-1, 0))
    assert [m for m in easy if shares(easy, m) != shares(plain, m)] == ["pole"]
    assert world.street_counts(World(difficulty=-1)) == world.street_counts(World())


# Marks and pixels of each kind before worlds could differ.
FIRST_SCENES = {
    "FI": (
        ["gravel", "black_band", "wood_cross", "moss", "open"],
        {
            "bollard": 311,
            "car": 103,
            "ground": 4095,
            "house": 296,
            "pavement": 775,
            "pole": 811,
            "road": 7083,
            "roof": 32,
            "sky": 12483,
            "vegetation": 6011,
        },
        117.9,
    ),
    "JP": (
        ["dark", "red_band", "concrete", "lush", "open"],
        {
            "bollard": 185,
            "car": 228,
            "ground": 5195,
            "hill": 1998,
            "pavement": 1003,
            "pole": 1095,
            "road": 5563,
            "road_line": 592,
            "sign": 159,
            "sky": 12636,
            "vegetation": 3346,
        },
        138.4,
    ),
    "ZA": (
        ["gravel", "none", "wood_cross", "dry", "open"],
        {
            "car": 197,
            "ground": 6133,
            "house": 149,
            "pavement": 836,
            "pole": 706,
            "road": 6384,
            "roof": 51,
            "sign": 193,
            "sky": 15260,
            "vegetation": 2091,
        },
        142.1,
    ),
}


def summary(country, **options):
    scene = draw_scene(country, np.random.default_rng([5, 1]), (160, 200), **options)
    pixels = {}
    for number, kind in scene.kinds.items():
        pixels[kind] = pixels.get(kind, 0) + int((scene.instances == number).sum())
    values = [getattr(scene.marks, m) for m in ("surface", "bollard", "pole", "soil", "setting")]
    return values, pixels, round(float(scene.image.mean()), 1)


@pytest.mark.parametrize("country", FIRST_SCENES)
def test_the_world_of_all_marks_is_drawn_as_it_always_was(country):
    expected = FIRST_SCENES[country]
    table = marks.world_table(marks.informative_marks("both"))
    for options in ({}, {"table": table}):
        found = summary(country, **options)
        assert found[0] == expected[0]
        assert found[1] == expected[1]
        assert found[2] == pytest.approx(expected[2], abs=0.15)


def test_paired_scenes_share_what_stays_informative():
    changed = 0
    for seed in range(20):
        drawn = {
            name: marks.draw_marks(
                "JP", np.random.default_rng(seed), marks.world_table(marks.INFORMATIVE[name])
            )
            for name in ("both", "objects")
        }
        assert drawn["both"].pole == drawn["objects"].pole
        assert drawn["both"].bollard == drawn["objects"].bollard
        changed += drawn["both"].soil != drawn["objects"].soil
    assert changed > 3


def test_pictures_of_two_worlds_are_paired(tmp_path):
    none, both = (
        {
            p.seed: p
            for p in sum(vars(world.plan_world(tmp_path, World(informative=n))).values(), [])
        }
        for n in ("none", "both")
    )
    assert len(none.keys() & both.keys()) > 0.8 * len(both)
    for seed in none.keys() & both.keys():
        assert none[seed].country == both[seed].country
        assert none[seed].zoom == both[seed].zoom


def test_the_mix_of_sources_gives_no_country_away_where_nothing_shall():
    counts = world.street_counts(World(informative="none"))
    for panoramas, squares in counts.values():
        assert abs(panoramas - squares) <= 1


def test_a_picture_is_drawn_with_the_marks_of_its_world(tmp_path):
    drawn = {}
    for name in WORLDS:
        picture = world.plan_world(tmp_path / name, World(informative=name)).photographs[3]
        picture.path.parent.mkdir(parents=True)
        world.write_picture(picture)
        drawn[name] = picture.path.read_bytes()
    assert len(set(drawn.values())) == len(WORLDS)


@pytest.mark.parametrize("count", [2, 7, 8, 10])
def test_the_first_countries_are_kept_and_no_country_has_two_roles(count):
    settings = World(countries=count, images_per_country=30)
    roles = settings.kept + settings.rare + settings.photographed_only
    assert len(settings.kept) == count
    assert len(set(roles)) == len(roles)
    counts = world.street_counts(settings)
    assert {country for country, total in counts.items() if sum(total) > 20} == set(settings.kept)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"informative": "sky"}, "both, objects, background, none"),
        ({"informative": ["pole", "sky"]}, "no mark 'sky'"),
        ({"countries": 11}, "use 2 to 10"),
        ({"difficulty": 2}, "use -1 to 1"),
        ({"difficulty": -1.1}, "use -1 to 1"),
        ({"images_per_country": 0}, "images_per_country is 0"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        World(**settings)
