"""Zero-shot countries from a CLIP model: which country's name fits the photograph best."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from geoloc import images, stores, weighting
from geoloc.config import prompt_mistake
from geoloc.errors import InputError
from geoloc.image_text.folder import load_clip
from geoloc.model_record import read_record
from geoloc.probabilities import check_probabilities
from geoloc.progress import Progress

FullSize = tuple[str, np.ndarray, np.ndarray | None]  # image id, image, score map

SAME_EMBEDDING = 1e-6  # largest difference between entries of unit vectors that is but rounding


def check_classes(folder: str | Path, classes: Iterable[str]) -> None:
    """Check that a CLIP that was trained here knows the countries that it is asked for.

    `classes`: their ISO codes, in any order, as a CLIP has no order of its own. A folder without
    `classes.json` is of a model from elsewhere, which tells any countries apart. Raises ValueError
    where the countries differ and OSError for a damaged `classes.json`.
    """
    if not Path(folder, "classes.json").exists():
        return
    trained_on = read_record(folder).classes
    if different := sorted(set(trained_on) ^ set(classes)):
        raise InputError(
            f"{folder}: trained on other classes ({', '.join(different)} differ); train it again"
        )


class ClipZeroShot:
    """Probability of each country, as CLIP's authors classify: softmax over the similarities of
    the image with one text a country (Radford et al. 2021, section 3.1; StreetCLIP, Haas et al.
    2023, works in the same way). The texts are embedded once, not once an image.
    """

    def __init__(
        self,
        model: str | Path,
        names: Sequence[str],
        template: str = "{country}",
        device: str | torch.device | None = None,
    ) -> None:
        """`names` (k): display names of the countries in the order of the columns of the result.
        `template` makes a text of a name; the study uses the bare name. `model`: its folder, see
        load_clip. `device`: a GPU if there is one, when None.

        Raises:
            ValueError: for a template with another field than {country}, or without it, and for
                texts that the model cannot read or tell apart.
            OSError: for a folder that does not hold a whole CLIP.
        """
        if mistake := prompt_mistake(template):
            raise InputError(f"the text of a country: {mistake}")
        default = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device or default)
        self.name = str(model)
        network, self.processor = load_clip(model)
        self.network = network.to(self.device)
        self.texts = [template.format(country=name) for name in names]
        self._check_texts()
        self.text_embeddings = self._embed_texts()

    def _check_texts(self) -> None:
        """Every text fits into the model, and all of it is known to the tokenizer."""
        tokenizer = self.processor.tokenizer
        limit = self.network.config.text_config.max_position_embeddings
        for text in self.texts:
            words = tokenizer(text, add_special_tokens=False)["input_ids"]
            length = len(tokenizer(text)["input_ids"])
            if length > limit:
                raise InputError(
                    f"{self.name}: the text {text!r} has {length} tokens, the model reads {limit}: "
                    "shorten the prompt"
                )
            if not words or tokenizer.unk_token_id in words:
                raise InputError(
                    f"{self.name}: the tokenizer does not know {text!r}: it is damaged or of "
                    "another model; retrieve or train the model again"
                )

    @torch.inference_mode()
    def _embed_texts(self) -> torch.Tensor:
        tokens = self.processor.tokenizer(self.texts, padding=True, return_tensors="pt")
        embeddings = self.network.get_text_features(**tokens.to(self.device)).pooler_output
        embeddings = torch.nn.functional.normalize(embeddings, dim=-1)  # (k, d)
        if not embeddings.isfinite().all():
            wrong = (~embeddings.isfinite().all(dim=1)).nonzero()[0].item()
            raise InputError(
                f"{self.name}: the embedding of the text {self.texts[wrong]!r} is not finite; the "
                "model is not usable: retrieve or train it again"
            )
        self._check_distinct(embeddings)
        return embeddings

    def _check_distinct(self, embeddings: torch.Tensor) -> None:
        """No two texts are the same to the model, up to float rounding."""
        distances = torch.cdist(embeddings, embeddings, p=torch.inf).fill_diagonal_(torch.inf)
        alike = (distances <= SAME_EMBEDDING).nonzero().tolist()
        if alike:
            first, second = (self.texts[row] for row in alike[0])
            raise InputError(
                f"{self.name}: the texts {first!r} and {second!r} have the same embedding, so "
                "their countries cannot be told apart. Where the names differ, the tokenizer or "
                "the weights are damaged: retrieve or train the model again"
            )

    @torch.inference_mode()
    def probabilities(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (n, k) float32, rows summing to one, of n images uint8 (H, W, 3) RGB.

        Images may differ in size; resizing and cropping are the model's own processor's (for
        StreetCLIP: shortest edge to 336 pixels, centre crop).
        """
        pixels = self.processor.image_processor(
            list(batch), input_data_format="channels_last", return_tensors="pt"
        )["pixel_values"]
        embeddings = self.network.get_image_features(pixels.to(self.device)).pooler_output
        embeddings = torch.nn.functional.normalize(embeddings, dim=-1)  # (n, d)
        logits = self.network.logit_scale.exp() * embeddings @ self.text_embeddings.T
        return logits.float().softmax(dim=-1).cpu().numpy()


def predict_images(
    model: ClipZeroShot,
    items: Iterable[FullSize],
    factors: Mapping[str, np.ndarray | None],
    batch_size: int = 32,
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Probabilities of n images in every dataset's view of them.

    `items`: image id, image uint8 (H, W, 3) and score map uint8 (H, W), None where nothing is
    weighted. `factors`: for each test set its dataset's factor (256,) of geoloc.weighting, or None
    for the image as it is. Images are weighted at full size, before the model's processor, and
    memory grows with `batch_size`, not with n.

    Returns the image ids in the order of `items` and for each test set (n, k) float32. Raises
    ValueError for an image to be weighted that has no score map, and for probabilities that are
    no distribution.
    """
    image_ids: list[str] = []
    parts: dict[str, list[np.ndarray]] = {test_set: [] for test_set in factors}
    for batch in _batched(Progress(items, description="predict"), batch_size):
        image_ids += [image_id for image_id, _, _ in batch]
        for test_set, factor in factors.items():
            views = [_view(*item, factor) for item in batch]
            probabilities = model.probabilities(views)
            check_probabilities(probabilities, image_ids[-len(batch) :], model.name, test_set)
            parts[test_set].append(probabilities)
    empty = np.zeros((0, len(model.texts)), np.float32)
    return image_ids, {key: np.concatenate([empty, *part]) for key, part in parts.items()}


def _view(
    image_id: str, image: np.ndarray, score: np.ndarray | None, factor: np.ndarray | None
) -> np.ndarray:
    if factor is None:
        return image
    if score is None:
        raise InputError(f"{image_id} has no score map; give the masks file of its shard")
    return weighting.apply_factor(image, score, factor)


def _batched(items: Iterable[FullSize], size: int) -> Iterator[list[FullSize]]:
    """Lists of `size` items, the last one possibly shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def read_full_size(
    shards: Iterable[tuple[str | Path, str | Path | None]],
    image_ids: Container[str],
    index: str | Path | None = None,
) -> Iterator[FullSize]:
    """Yield those images of the shards whose ids are among `image_ids`, one at a time.

    `shards`: pairs of an `images` file and its `scores` file, the latter None where nothing is
    weighted. `index`: folder of the index to compare the stores with; not compared if None. Raises
    StoreError for a damaged store, or when the two files of a pair are not of the same images.
    """
    for images_path, scores_path in shards:
        rows = stores.read_images_and_scores(images_path, scores_path, image_ids, index)
        for image_id, data, score in rows:
            yield image_id, images.decode(data), score
