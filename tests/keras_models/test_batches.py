"""Batches are whole, repeatable, weighted by their dataset and not delayed."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from geoloc.keras_models.augmentation import Augmentation
from geoloc.keras_models.batches import Batches, own_errors
from geoloc.weighting import UNCHANGED
from tests.colored_world import CLASSES, PIECEWISE, open_world, write_stores


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[Path]:
    return write_stores(tmp_path_factory.mktemp("arrays"))


def batches(stores, split="train", **options) -> Batches:
    options = {"view": UNCHANGED, "batch_size": 16, "seed": 3} | options
    return Batches(open_world(stores, split), CLASSES, **options)


def test_an_epoch_has_as_many_whole_batches_as_fit(stores):
    assert len(batches(stores)) == 42 // 16
    assert [len(image) for image, _ in batches(stores, batch_size=20).of_epochs([0])] == [20, 20]


def test_fewer_images_than_a_batch_are_one_batch(stores):
    small = batches(stores, "test", batch_size=64)
    assert [image.shape for image, _ in small.of_epochs([0])] == [(7, 224, 224, 3)]


def test_images_of_an_epoch_are_different_and_their_labels_their_own(stores):
    arrays = open_world(stores, "train")
    pixels = {
        image.tobytes(): label
        for image, label in zip(arrays.read(np.arange(42))[0], arrays.label, strict=True)
    }
    seen = [pair for batch in batches(stores).of_epochs([0]) for pair in zip(*batch, strict=True)]
    assert len({image.tobytes() for image, _ in seen}) == len(seen) == 32
    assert all(CLASSES[label.argmax()] == pixels[image.tobytes()] for image, label in seen)


def test_training_that_goes_on_gets_the_batches_it_would_have_got(stores):
    def delivered(epochs):
        dataset = batches(stores, augmentation=Augmentation()).dataset(epochs)
        return [image for image, _ in dataset.as_numpy_iterator()]

    whole, going_on = delivered(range(3)), delivered(range(2, 3))
    assert len(whole) == 3 * len(going_on) == 6
    assert all(np.array_equal(a, b) for a, b in zip(whole[4:], going_on, strict=True))
    assert not np.array_equal(whole[0], whole[4])


def test_batches_are_the_same_however_many_workers_make_them(stores):
    one, three = (
        list(batches(stores, batch_size=4, augmentation=Augmentation()).of_epochs([0, 1], workers))
        for workers in (1, 3)
    )
    assert len(one) == len(three) == 20
    for (image, label), (same_image, same_label) in zip(one, three, strict=True):
        assert np.array_equal(image, same_image)
        assert np.array_equal(label, same_label)


def test_nothing_delays_the_end_of_an_epoch(stores):
    """The thread that tunes a pipeline must be woken from its sleep before an iterator may end."""
    assert batches(stores).dataset([0]).options().autotune.enabled is False


def test_every_epoch_and_every_seed_has_its_own_order(stores):
    orders = [tuple(batches(stores, seed=s).order(e)) for s in (3, 4) for e in (0, 1, 2)]
    assert len(set(orders)) == len(orders)
    assert all(sorted(order) == list(range(42)) for order in orders)


def test_every_batch_of_every_epoch_is_augmented_in_its_own_way(stores, monkeypatch):
    drawn = []

    def remember(images, transforms):
        drawn.append(tuple(transforms.zoom.ravel()))
        return images

    monkeypatch.setattr("geoloc.keras_models.batches.augment", remember)
    for seed in (3, 4):
        feed = batches(stores, seed=seed, batch_size=7, augmentation=Augmentation())
        list(feed.of_epochs([0, 1]))
    assert len(set(drawn)) == len(drawn) == 2 * 2 * 6
    assert all(len(set(zooms)) == 2 * 7 for zooms in drawn)  # each image by itself, each axis too


def test_augmentation_is_within_its_ranges(stores):
    """Without ranges images stay as they are; none at all leaves them alone too."""
    plain, none = (
        next(batches(stores, augmentation=augmentation).of_epochs([0]))[0]
        for augmentation in (None, Augmentation(0.0, 0.0, False))
    )
    augmented = next(batches(stores, augmentation=Augmentation()).of_epochs([0]))[0]
    assert np.array_equal(plain, none)
    assert all(not np.array_equal(a, b) for a, b in zip(plain, augmented, strict=True))


def test_the_error_of_a_store_is_raised_and_not_what_tensorflow_makes_of_it(stores, monkeypatch):
    def damaged(rows):
        raise OSError("arrays/NA/0000.h5 is damaged; delete it and run snakemake again")

    feed, other = batches(stores), batches(stores, "val")
    monkeypatch.setattr(feed.arrays, "read", damaged)
    message = "^arrays/NA/0000.h5 is damaged"
    with pytest.raises(OSError, match=message) as error, own_errors(other, feed):
        list(feed.dataset([0]))
    assert error.value.__suppress_context__


def test_an_error_of_tensorflow_stays_its_own(stores):
    with pytest.raises(tf.errors.OutOfRangeError), own_errors(batches(stores)):
        raise tf.errors.OutOfRangeError(None, None, "end")


def test_validation_keeps_its_order(stores):
    validation = batches(stores, "val", batch_size=5, shuffle=False)
    for first, later in zip(validation.of_epochs([0]), validation.of_epochs([1]), strict=True):
        assert np.array_equal(first[0], later[0])


def test_batches_are_weighted_by_their_dataset(stores):
    weighted = batches(stores, view=PIECEWISE)
    image, score = open_world(stores, "train").read(weighted.order(0)[:16])
    first, _ = next(weighted.of_epochs([0]))
    assert np.array_equal(first, PIECEWISE(image, score))
    assert first.mean() < image.mean()


def test_image_of_an_unknown_country_is_refused(stores):
    with pytest.raises(ValueError, match="^images of FR, NA, which are not among the .* 1 classes"):
        Batches(open_world(stores), ["DE"], UNCHANGED, 4, 0)


def test_no_images_are_refused(stores):
    with pytest.raises(ValueError, match="no image"):
        batches(stores, "nothing")


def test_keras_is_given_bytes_and_shares_of_one(stores):
    feed = batches(stores)
    images, labels = feed.dataset([0]).element_spec
    assert (images.shape.as_list(), images.dtype) == ([None, 224, 224, 3], tf.uint8)
    assert (labels.shape.as_list(), labels.dtype) == ([None, 3], tf.float32)
    assert feed.class_index.dtype == np.int32  # one-hot labels of all would be most of the memory


def test_as_many_threads_make_batches_as_are_asked_for(stores, monkeypatch):
    asked = []

    def remember(function, items, ahead, workers):
        asked.append((ahead, workers))
        return map(function, items)

    monkeypatch.setattr("geoloc.keras_models.batches.map_ahead", remember)
    list(batches(stores).dataset([0], workers=3))
    list(batches(stores).of_epochs([0]))
    assert [workers for _, workers in asked] == [3, 1]
    assert all(ahead > workers for ahead, workers in asked)
