"""Class lists, scores of masks, and score maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloc.config import load_schema
from geoloc.segmentation import rle
from geoloc.segmentation.classifiers import CLASSIFIERS
from geoloc.segmentation.scoring import (
    read_selected,
    score_map,
    segment_classes,
    segment_scores,
)
from geoloc.segmentation.segments import to_segments
from geoloc.segmentation.vocabularies import (
    OF_CLASSIFIERS,
    TITLES,
    class_indices,
    class_list_mistakes,
    vocabulary,
)
from tests.conftest import ROOT

SHAPE = (6, 5)


def classified(masks: list[np.ndarray], class_id: np.ndarray, probability: np.ndarray):
    counts = [rle.encode(mask.T, 0, 0, mask.shape) for mask in masks]
    segments = to_segments(SHAPE, counts, [1.0] * len(masks), [1.0] * len(masks))
    segments.class_id = np.asarray(class_id, np.int16).reshape(-1, 10)
    segments.class_probability = np.asarray(probability, np.float32).reshape(-1, 10)
    return segments


@st.composite
def classified_masks(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, 6))
    masks = [random.random(SHAPE) < random.random() for _ in range(count)]
    class_id = np.array([random.permutation(20)[:10] for _ in range(count)])
    probability = -np.sort(-random.dirichlet(np.full(10, 0.3), count), axis=1)
    return classified(masks, class_id, probability)


def plain_score(class_id, probability, selected, minimum=0.10):
    for index, value in zip(class_id, probability, strict=True):
        if value <= minimum:
            break
        if index in selected:
            return round(100 * float(value))
    return 0


def plain_score_map(segments, selected, merge):
    scored = np.zeros(segments.size, np.uint8)
    rows = zip(segments.counts, segments.class_id, segments.class_probability, strict=True)
    for counts, class_id, probability in rows:
        mask = rle.decode(counts, segments.size)
        score = plain_score(class_id, probability, selected)
        if merge == "maximum":
            for y, x in np.argwhere(mask):
                scored[y, x] = max(scored[y, x], score)
        elif mask.any() and score > 0:
            scored[mask] = max(score, scored[np.where(mask)][0])
    return scored


@settings(max_examples=60)
@given(classified_masks(), st.sets(st.integers(0, 19), max_size=8))
def test_scores_and_maps_equal_the_plain_way(segments, selected):
    chosen = np.array(sorted(selected), np.int16)
    scores = segment_scores(segments.class_id, segments.class_probability, chosen)
    assert scores.dtype == np.uint8
    rows = zip(segments.class_id, segments.class_probability, strict=True)
    assert scores.tolist() == [plain_score(ids, p, selected) for ids, p in rows]
    for merge in ("maximum", "as_published"):
        expected = plain_score_map(segments, selected, merge)
        assert np.array_equal(score_map(segments, chosen, merge=merge), expected)


@settings(max_examples=40)
@given(classified_masks(), st.randoms(use_true_random=False))
def test_maximum_does_not_depend_on_the_order_of_masks(segments, random):
    order = list(range(len(segments)))
    random.shuffle(order)
    shuffled = classified(
        [rle.decode(segments.counts[i], SHAPE) for i in order],
        segments.class_id[order],
        segments.class_probability[order],
    )
    selected = np.arange(10)
    assert np.array_equal(score_map(segments, selected), score_map(shuffled, selected))


def two_masks(first: float, second: float):
    """A small mask inside a large one, of class 3, in this order."""
    small, large = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    small[3:5, 2:4] = True
    large[1:, 1:] = True
    probability = np.zeros((2, 10))
    probability[:, 0] = first, second
    return classified([small, large], np.tile(np.arange(3, 13), (2, 1)), probability)


def test_larger_score_wins_but_not_as_published():
    segments = two_masks(0.9, 0.2)
    assert score_map(segments, [3])[3, 2] == 90
    published = score_map(segments, [3], merge="as_published")
    assert published[3, 2] == 20  # the large low mask erases the small high one
    assert np.unique(published).tolist() == [0, 20]


def test_as_published_a_mask_takes_over_the_score_at_its_first_pixel():
    """The published code writes the larger of both over the mask, also where it is the old one."""
    first, second = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    first[2, 0:3] = True
    second[2, 2:5] = True
    probability = np.zeros((2, 10))
    probability[:, 0] = 0.6, 0.2
    segments = classified([first, second], np.tile(np.arange(3, 13), (2, 1)), probability)
    assert score_map(segments, [3], merge="as_published")[2].tolist() == [60, 60, 60, 60, 60]
    assert score_map(segments, [3])[2].tolist() == [60, 60, 60, 20, 20]


def test_as_published_a_mask_without_a_score_paints_nothing():
    segments = two_masks(0.6, 0.05)
    published = score_map(segments, [3], merge="as_published")
    assert np.array_equal(published, score_map(segments, [3]))


def test_scores_are_whole_percents_above_the_minimum():
    class_id = np.tile(np.arange(10), (5, 1))
    probability = np.zeros((5, 10), np.float32)
    probability[:, 0] = 0.10, 0.1001, 0.554, 0.556, 1.0
    assert segment_scores(class_id, probability, [0]).tolist() == [0, 10, 55, 56, 100]
    assert segment_scores(class_id, probability, [0], minimum=0.5).tolist() == [0, 0, 55, 56, 100]


def test_masks_without_classes_score_nothing():
    segments = two_masks(0.9, 0.9)
    segments.class_id[:], segments.class_probability[:] = -1, 0
    assert not score_map(segments, [3]).any()


def test_image_without_masks_has_a_map_of_zeros():
    empty = to_segments((4, 7), [], [], [])
    for merge in ("maximum", "as_published"):
        assert np.array_equal(score_map(empty, [3], merge=merge), np.zeros((4, 7), np.uint8))


def test_unknown_merge_names_the_known_ones():
    with pytest.raises(ValueError, match="as_published"):
        score_map(two_masks(0.5, 0.5), [3], merge="minimum")


def write_list(folder, *lines: str):
    path = folder / "classes.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_crane_is_the_machine_unless_every_meaning_counts(tmp_path):
    path = write_list(tmp_path, "crane", "volcano", "", "volcano  # twice", "# a comment")
    assert read_selected(path).tolist() == [517, 980]
    assert read_selected(path, "every_meaning").tolist() == [134, 517, 980]


def test_index_and_name_choose_a_class(tmp_path):
    path = write_list(tmp_path, "134 crane", "638 maillot", "919")
    assert read_selected(path).tolist() == [134, 638, 919]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "street sing",
            "line 2: 'street sing' is not a class of ImageNet, did you mean 'street sign'",
        ),
        ("maillot", "'maillot' stands for 2 classes: write '638 maillot' or '639 maillot'"),
        ("3 volcano", "class 3 is 'tiger shark'"),
        ("1000", "'1000' is not a class of ImageNet"),
    ],
)
def test_wrong_lines_are_explained(tmp_path, line, message):
    path = write_list(tmp_path, "barn", line)
    with pytest.raises(ValueError, match=message) as raised:
        read_selected(path)
    assert str(path) in str(raised.value)


def test_a_list_is_utf_8_with_or_without_a_byte_order_mark(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("pole\n", encoding="utf-8-sig")
    assert read_selected(path).size == 1
    path.write_text("pole\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"classes\.txt is not UTF-8 text; save it as UTF-8"):
        read_selected(path)


def test_empty_list_is_refused(tmp_path):
    with pytest.raises(ValueError, match="selects no class"):
        read_selected(write_list(tmp_path, "# nothing"))


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("imagenet", 1000, {0: "tench", 980: "volcano", 999: "toilet tissue"}),
        ("cityscapes", 19, {0: "road", 5: "pole", 7: "traffic sign", 18: "bicycle"}),
        ("demo", 15, {0: "sky", 9: "pole", 14: "other"}),
        (
            "mapillary_vistas",
            65,
            {0: "Bird", 17: "Building", 27: "Sky", 47: "Utility Pole", 64: "Ego Vehicle"},
        ),
    ],
)
def test_vocabularies_have_the_order_of_their_checkpoints(name, count, some):
    names = vocabulary(name)
    assert len(names) == len(set(names)) + (2 if name == "imagenet" else 0) == count
    assert {index: names[index] for index in some} == some


def test_every_classifier_has_a_vocabulary():
    assert OF_CLASSIFIERS.keys() == CLASSIFIERS.keys()
    assert set(OF_CLASSIFIERS.values()) <= TITLES.keys()


def test_every_kind_of_segmentation_requires_what_its_vocabulary_comes_from():
    schema = load_schema(ROOT / "config/config.schema.yaml")
    for kind, entry in schema["$defs"]["segmentation"]["kinds"].items():
        names = {"classes"} if kind == "python" else {"vocabulary", "classifier"}
        assert names & set(entry["required"]), kind


def test_a_segmentation_without_a_vocabulary_is_told_before_the_first_job():
    config = {
        "segmentations": {
            "nameless": {"kind": "superpixels", "path": "here"},
            "unlisted": {"kind": "sam", "classifier": {"kind": "vgg16"}},
        },
        "scores": {
            name: {"segmentation": name, "classes": "a.txt", "ambiguous_classes": "first_meaning"}
            for name in ("nameless", "unlisted")
        },
    }
    nameless, unlisted = class_list_mistakes(config, ["nameless", "unlisted"])
    assert nameless.startswith("segmentations.nameless: segmentations of the kind superpixels have")
    assert "add the key vocabulary" in nameless
    assert unlisted.startswith("segmentations.unlisted: the vocabulary of the classifier vgg16")


def test_an_unknown_vocabulary_names_the_known_ones():
    with pytest.raises(ValueError, match="no vocabulary named 'ade20k'.*cityscapes"):
        vocabulary("ade20k")


def test_a_list_is_read_with_its_vocabulary(tmp_path):
    path = write_list(tmp_path, "pole", "traffic sign")
    assert read_selected(path, vocabulary_name="cityscapes").tolist() == [5, 7]
    with pytest.raises(
        ValueError, match="line 1: 'pole' is not a class of Mapillary Vistas, did you"
    ):
        read_selected(path, vocabulary_name="mapillary_vistas")


def test_a_class_list_that_does_not_fit_its_segmentation_is_told_before_the_first_job(tmp_path):
    streets, objects = tmp_path / "streets.txt", tmp_path / "objects.txt"
    streets.write_text("pole\n", encoding="utf-8")
    objects.write_text("street sign\n", encoding="utf-8")
    config = {
        "segmentations": {
            "sam": {"kind": "sam", "classifier": {"kind": "resnet50"}},
            "street": {"kind": "semantic", "vocabulary": "cityscapes"},
        },
        "scores": {
            name: {"segmentation": segmentation, "classes": str(path), "ambiguous_classes": how}
            for name, segmentation, path, how in (
                ("first", "sam", objects, "first_meaning"),
                ("second", "street", streets, "first_meaning"),
                ("third", "street", objects, "first_meaning"),
                ("fourth", "sam", tmp_path / "none.txt", "first_meaning"),
            )
        },
    }
    assert not class_list_mistakes(config, ["first", "second"])
    (third,) = class_list_mistakes(config, config["scores"])
    assert third.startswith(
        f"scores.third.classes: {objects}, line 1: 'street sign' is not a class of Cityscapes"
    )
    assert third.endswith("; the segmentation street names Cityscapes classes")


@pytest.mark.parametrize("name", ["cityscapes", "mapillary_vistas"])
def test_shipped_lists_select_objects_and_no_people_or_sky(name):
    path = ROOT / "config" / f"classes_{name}.txt"
    selected = {
        vocabulary(name)[index].lower() for index in read_selected(path, vocabulary_name=name)
    }
    assert "pole" in selected
    assert any("traffic sign" in entry for entry in selected)
    assert not selected & {"sky", "person", "ego vehicle", "car mount"}


def test_an_unknown_reading_of_names_is_refused_for_names_of_one_meaning_too():
    with pytest.raises(ValueError, match="every_meaning"):
        class_indices("tile roof", "all_meanings")


def test_a_mask_is_counted_under_the_class_that_scores_it_or_else_its_most_likely_one():
    class_id = np.full((4, 10), -1, np.int16)
    probability = np.zeros((4, 10), np.float32)
    class_id[:3, :2] = [[1, 2], [1, 3], [2, 1]]
    probability[:3, :2] = [[0.6, 0.3], [0.6, 0.3], [0.05, 0.04]]
    classes, found = segment_classes(class_id, probability, [2])
    assert classes.tolist() == [2, 1, 2, -1]
    assert found == pytest.approx([0.3, 0.6, 0.05, 0])
    assert segment_scores(class_id, probability, [2]).tolist() == [30, 0, 0, 0]
