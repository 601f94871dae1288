"""A shard is segmented image by image, and a killed job goes on where it was."""

import io
import logging
import zlib

import h5py
import numpy as np
import pytest
from PIL import Image

from geoloc.segmentation.classifiers import build_classifier
from geoloc.segmentation.journal import HEADER, Journal
from geoloc.segmentation.segmenters.sam.generator import SamSegmenter
from geoloc.segmentation.segments import to_segments
from geoloc.segmentation.shard import segment_shard
from geoloc.stores import read_segments, write_images
from tests.small_sam import EVERYTHING, picture, random_sam


def encoded(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_shard(path, images: list[bytes]):
    place = {"latitude": 0.0, "longitude": 0.0, "split": "train", "source": "test"}
    write_images(path, [{"image_id": f"{i}", "image": b} | place for i, b in enumerate(images)])
    return path


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    images = [encoded(picture(50 + 10 * i, 70, seed=i)) for i in range(4)]
    return write_shard(tmp_path_factory.mktemp("shard") / "images.h5", images)


@pytest.fixture(scope="module")
def classifier():
    return build_classifier("efficientnet_lite0", device="cpu")


class CountingSegmenter(SamSegmenter):
    """Counts its images, and is killed when it has had `lives` of them."""

    def __init__(self, lives: int = 99) -> None:
        super().__init__(random_sam(), device="cpu", points_per_side=1, **EVERYTHING)
        self.lives, self.count = lives, 0

    def segment(self, images):
        if self.count >= self.lives:
            raise KeyboardInterrupt
        self.count += len(images)
        return super().segment(images)


def contents(path) -> dict[str, bytes]:
    with h5py.File(path) as file:
        return {name: file[name][()].tobytes() for name in file if name != "image_id"}


def test_every_image_is_segmented_and_classified(shard, classifier, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert segment_shard(shard, tmp_path / "segments.h5", CountingSegmenter(), classifier) == 4
    images = list(read_segments(tmp_path / "segments.h5"))
    assert [segments.image_id for segments in images] == ["0", "1", "2", "3"]
    assert [segments.size for segments in images] == [(50, 70), (60, 70), (70, 70), (80, 70)]
    assert all(len(segments) for segments in images)
    assert all((segments.class_id >= 0).all() for segments in images)
    assert "masks an image" in caplog.text
    assert "time: encoder" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["segments.h5"]


def test_killed_job_goes_on_and_ends_the_same(shard, classifier, tmp_path):
    segment_shard(shard, tmp_path / "whole.h5", CountingSegmenter(), classifier, {"a": 1})
    with pytest.raises(KeyboardInterrupt):
        segment_shard(shard, tmp_path / "killed.h5", CountingSegmenter(2), classifier, {"a": 1})
    assert not (tmp_path / "killed.h5").exists()
    second = CountingSegmenter()
    segment_shard(shard, tmp_path / "killed.h5", second, classifier, {"a": 1})
    assert second.count == 2
    assert contents(tmp_path / "killed.h5") == contents(tmp_path / "whole.h5")


def test_journal_of_other_settings_is_not_used(shard, classifier, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        segment_shard(shard, tmp_path / "s.h5", CountingSegmenter(2), classifier, {"a": 1})
    second = CountingSegmenter()
    segment_shard(shard, tmp_path / "s.h5", second, classifier, {"a": 2})
    assert second.count == 4


def test_journal_of_other_pixels_under_the_same_names_is_not_used(classifier, tmp_path):
    shard = write_shard(tmp_path / "i.h5", [encoded(picture(50, 70, seed=i)) for i in range(3)])
    with pytest.raises(KeyboardInterrupt):
        segment_shard(shard, tmp_path / "s.h5", CountingSegmenter(2), classifier)
    write_shard(shard, [encoded(picture(50, 70, seed=9 + i)) for i in range(3)])
    second = CountingSegmenter()
    segment_shard(shard, tmp_path / "s.h5", second, classifier)
    assert second.count == 3


IDS = ["a", "b", "c"]


def some_segments(image_id: str):
    segments = to_segments((2, 3), [np.array([1, 5], np.uint32)], [0.5], [0.75])
    segments.image_id = image_id
    return segments


@pytest.fixture
def two_of_three(tmp_path):
    """A journal with the first two images of three."""
    with Journal(tmp_path / "journal", "settings", IDS) as journal:
        for image_id in ("a", "b"):
            journal.append(some_segments(image_id))
    return journal.path


def record(body: bytes) -> bytes:
    return HEADER.pack(len(body), zlib.crc32(body)) + body


def time_of_a_member_changed(whole: bytes) -> bytes:
    """A byte of the NPZ that nothing is read from, and no checksum of its own is of."""
    at = whole.rindex(b"image_id.npy") - 34
    return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]


TAILS = {
    "a byte of no value": time_of_a_member_changed,
    "cut by a byte": lambda whole: whole[:-1],
    "cut within its body": lambda whole: whole[:-400],
    "zeros of a header": lambda whole: whole[:-9] + bytes(12),
    "a byte of its body": lambda whole: whole[:-90] + bytes([whole[-90] ^ 1]) + whole[-89:],
}


@pytest.mark.parametrize("tail", TAILS)
def test_a_record_that_is_not_whole_is_dropped(two_of_three, tail, caplog):
    whole = two_of_three.read_bytes()
    two_of_three.write_bytes(TAILS[tail](whole))
    with Journal(two_of_three, "settings", IDS) as again:
        assert [segments.image_id for segments in again] == ["a"]
        again.append(some_segments("b"))
    assert again.path.read_bytes() == whole
    assert "not a whole record; dropped" in caplog.text


@pytest.mark.parametrize(
    "tail",
    [
        bytes(12),
        bytes(4096),
        np.random.default_rng(3).bytes(4096),
        HEADER.pack(2**62, 0) + b"x" * 50,
        record(b"no archive"),
        record(b""),
    ],
)
def test_what_follows_the_last_record_is_dropped(two_of_three, tail, caplog):
    whole = two_of_three.read_bytes()
    two_of_three.write_bytes(whole + tail)
    with Journal(two_of_three, "settings", IDS) as again:
        assert [segments.image_id for segments in again] == ["a", "b"]
    assert two_of_three.read_bytes() == whole
    assert f"the last {len(tail)} bytes are not a whole record" in caplog.text


def test_an_image_is_in_a_journal_once_and_in_the_order_of_its_shard(two_of_three):
    whole = two_of_three.read_bytes()
    first = len(whole) - 2 * (len(whole) // 2)
    second = whole[-(len(whole) - first) // 2 :]
    two_of_three.write_bytes(whole + second)
    with Journal(two_of_three, "settings", IDS) as again:
        assert [segments.image_id for segments in again] == ["a", "b"]
    with Journal(two_of_three, "settings", ["b", "a"]) as other:
        assert len(other) == 0


def test_segments_that_cannot_be_are_not_taken_from_a_journal(tmp_path):
    with Journal(tmp_path / "journal", "settings", IDS) as journal:
        journal.append(some_segments("a"))
        wrong = some_segments("b")
        wrong.class_id[:] = 5000
        journal.append(wrong)
    with Journal(tmp_path / "journal", "settings", IDS) as again:
        assert [segments.image_id for segments in again] == ["a"]


def test_shard_that_another_job_works_on_is_refused(shard, classifier, tmp_path):
    with Journal(tmp_path / ".s.journal", "another job", IDS) as journal:
        before = journal.path.read_bytes()
        with pytest.raises(BlockingIOError, match="is already segmenting this shard"):
            segment_shard(shard, tmp_path / "s.h5", CountingSegmenter(), classifier)
        assert journal.path.read_bytes() == before


def test_images_without_masks_are_kept(tmp_path, classifier):
    shard = write_shard(tmp_path / "images.h5", [encoded(picture(40, 40))])
    segmenter = SamSegmenter(random_sam(), device="cpu", points_per_side=1, pred_iou_thresh=1e9)
    segment_shard(shard, tmp_path / "segments.h5", segmenter, classifier)
    (segments,) = read_segments(tmp_path / "segments.h5")
    assert len(segments) == 0


def test_shard_without_images_has_a_store(tmp_path, classifier):
    shard = write_shard(tmp_path / "images.h5", [])
    assert segment_shard(shard, tmp_path / "s.h5", CountingSegmenter(), classifier) == 0
    assert list(read_segments(tmp_path / "s.h5")) == []


def test_image_that_does_not_decode_names_file_and_image(tmp_path, classifier):
    shard = write_shard(tmp_path / "images.h5", [encoded(picture(40, 40)), b"no image"])
    with pytest.raises(ValueError, match=r"images\.h5: image 1 cannot be decoded"):
        segment_shard(shard, tmp_path / "s.h5", CountingSegmenter(), classifier)
    assert not (tmp_path / "s.h5").exists()
