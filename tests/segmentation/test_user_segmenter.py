"""A segmenter of a user's file is given images, and its segments are checked and stored."""

from pathlib import Path

import numpy as np
import pytest

from geoloc.errors import InputError
from geoloc.segmentation import rle
from geoloc.segmentation.kinds import build_segmentation
from geoloc.segmentation.segmenters.user_segmenter import UserSegmenter
from geoloc.segmentation.shard import segment_shard
from geoloc.segmentation.vocabularies import class_list_mistakes, read_class_list, vocabulary
from geoloc.stores import read_segments
from tests.segmentation.test_shard import encoded, write_shard

FILE = """
import numpy as np

class Segmenter:
    def segment(self, images):
        return [[{segment}] for image in images]

def load():
    return Segmenter()
"""
BRIGHT = "(image[..., 0] > 99, 1, np.float32(0.75)), (image[..., 0] < 100, 0, 0.5)"


def write(folder: Path, segment: str = BRIGHT, names: str = "dark\nbright\n") -> dict:
    (folder / "my_segmenter.py").write_text(FILE.format(segment=segment))
    (folder / "my_classes.txt").write_text(names)
    return {"file": str(folder / "my_segmenter.py"), "classes": str(folder / "my_classes.txt")}


def half(height=40, width=60) -> np.ndarray:
    """An image whose right half is bright."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 200
    return image


def test_segments_of_the_users_own_are_stored_with_their_classes(tmp_path):
    images = [half(), half(30, 50)]
    shard = write_shard(tmp_path / "images.h5", [encoded(image) for image in images])
    entry = {"kind": "python", "options": {}} | write(tmp_path)
    segmenter, classifier = build_segmentation(entry, {"image_batch": 2})
    assert (classifier, segmenter.image_batch) == (None, 2)
    segment_shard(shard, tmp_path / "segments.h5", segmenter, classifier)
    found = list(read_segments(tmp_path / "segments.h5"))
    for segments, image in zip(found, images, strict=True):
        size = image.shape[:2]
        masks = [rle.decode(counts, size) for counts in segments.counts]
        np.testing.assert_array_equal(masks[0], image[..., 0] > 99)
        np.testing.assert_array_equal(masks[1], ~masks[0])
        assert segments.class_id[:, 0].tolist() == [1, 0]
        assert (segments.class_id[:, 1:] == -1).all()
        assert segments.class_probability[:, 0].tolist() == [0.75, 0.5]
        assert segments.bbox[0].tolist() == [size[1] // 2, 0, size[1] // 2, size[0]]


MASK = "np.ones((40, 60), bool)"


@pytest.mark.parametrize(
    ("segment", "fault"),
    [
        ("3", r"returned int, not \(mask, class index, probability\)"),
        ("(image[..., 0], 0, 1.0)", r"the mask uint8 \(40, 60\) instead of an array bool"),
        ("(np.ones((60, 40), bool), 0, 1.0)", r"the mask bool \(60, 40\) instead of an array"),
        (f"(~{MASK}, 0, 1.0)", "an empty mask"),
        (f"({MASK}, 2, 1.0)", r"the class 2, not an index in 0–1 of .*my_classes\.txt"),
        (f"({MASK}, 'dark', 1.0)", "the class 'dark', not an index"),
        (f"({MASK}, 0, 1.5)", "the probability 1.5, not a number in 0–1"),
        (f"({MASK}, 0, float('nan'))", "the probability nan"),
        (f"({MASK}, True, 1.0)", "the class True, not an index"),
        (f"({MASK}, 0, True)", "the probability True, not a number"),
    ],
)
def test_what_is_no_segment_is_refused(segment, fault, tmp_path):
    segmenter = UserSegmenter(**write(tmp_path, segment))
    message = rf"my_segmenter\.py: .*{fault}.* segment 0 of an image of 40 × 60 pixels; correct"
    with pytest.raises(InputError, match=message):
        segmenter.segment([half()])


def test_errors_of_the_file_and_missing_lists_are_told(tmp_path):
    files = write(tmp_path, "image.gone")
    with pytest.raises(InputError, match=r"my_segmenter\.py, line 6: AttributeError"):
        UserSegmenter(**files).segment([half()])
    path = Path(files["file"])
    path.write_text(FILE.replace("for image in images", "for image in images[1:]"))
    with pytest.raises(InputError, match="returned 0 lists for 1 images"):
        UserSegmenter(**files).segment([half()])
    path.write_text("def load():\n    return 3\n")
    with pytest.raises(InputError, match=r"object with segment\(images\), but it returned int"):
        UserSegmenter(**files)


def test_a_class_list_is_read_with_a_vocabulary_of_the_users_own(tmp_path):
    known = write(tmp_path)["classes"]
    assert vocabulary(known) == ("dark", "bright")
    chosen = tmp_path / "chosen.txt"
    chosen.write_text("bright  # and no others\n")
    assert read_class_list(chosen, vocabulary_name=known) == [1]
    chosen.write_text("brigth\n")
    config = {
        "segmentations": {"own": {"kind": "python", "classes": known}},
        "scores": {"own": {"segmentation": "own", "classes": str(chosen),
                           "ambiguous_classes": "first_meaning"}},
    }  # fmt: skip
    (mistake,) = class_list_mistakes(config, ["own"])
    assert "line 1: 'brigth' is not a class of my_classes.txt, did you mean 'bright'?" in mistake


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("dark\n\nbright\n", "line 2: '' is not a class name; write one per line"),
        ("dark\n2 bright\n", "line 2: '2 bright' is not a class name"),
        ("dark\ndark\n", "line 2: 'dark' is given twice"),
        ("", "no class name; write one per line"),
    ],
)
def test_what_is_no_vocabulary_is_refused(names, message, tmp_path):
    with pytest.raises(InputError, match=message):
        vocabulary(write(tmp_path, names=names)["classes"])
    with pytest.raises(OSError, match=r"gone\.txt: no such file"):
        vocabulary(str(tmp_path / "gone.txt"))


def test_a_generator_may_use_the_array_of_a_mask_again(tmp_path):
    files = write(tmp_path)
    Path(files["file"]).write_text(
        "import numpy as np\n"
        "class Segmenter:\n"
        "    def segment(self, images):\n"
        "        return [self.rows(np.zeros(image.shape[:2], bool)) for image in images]\n"
        "    def rows(self, mask):\n"
        "        for row in range(2):\n"
        "            mask[:] = False\n"
        "            mask[row] = True\n"
        "            yield mask, row, 0.5\n"
        "def load():\n"
        "    return Segmenter()\n"
    )
    (found,) = UserSegmenter(**files).segment([half()])
    assert [rle.decode(c, (40, 60)).argmax() // 60 for c in found.counts] == [0, 1]
