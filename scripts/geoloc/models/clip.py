"""Zero-shot countries from a CLIP model: which country's name fits the photograph best."""

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import CLIPModel, CLIPProcessor

from geoloc import images, stores, weighting
from geoloc.config import prompt_mistake
from geoloc.probabilities import check_probabilities
from geoloc.progress import Progress

FullSize = tuple[str, np.ndarray, np.ndarray | None]  # image id, image, score map

COMMIT = re.compile(r"[0-9a-f]{40}")


def load_clip(model: str | Path, revision: str | None = None) -> tuple[CLIPModel, CLIPProcessor]:
    """Model and processor of a folder, or of a hub id at a pinned commit; safetensors only.

    A folder is read without any network. Raises ValueError for a hub id without a commit and
    OSError, with the remedy, for a folder that lacks a file or holds a damaged one.
    """
    if Path(model).is_dir():
        if not any(Path(model).glob("*.safetensors")):
            raise OSError(
                f"{model} holds no .safetensors file. Pickled weights are not loaded; convert them "
                "once: CLIPModel.from_pretrained(folder).save_pretrained(folder)"
            )
        options = {"local_files_only": True}
    elif revision is None or not COMMIT.fullmatch(revision):
        raise ValueError(
            f"{model} is not a folder. For a model of the hub give its id and, as revision, "
            f"the 40 hexadecimal digits of a commit (got {revision!r})"
        )
    else:
        options = {"revision": revision}
    try:
        network = CLIPModel.from_pretrained(model, use_safetensors=True, **options)
    except SafetensorError as error:
        raise OSError(f"{model}: damaged weights ({error}); fetch or train it again") from error
    return network.eval(), CLIPProcessor.from_pretrained(model, **options)


def check_classes(folder: str | Path, classes: Iterable[str]) -> None:
    """Check that a CLIP that was trained here knows the countries that it is asked for.

    `classes`: their ISO codes, in any order, as a CLIP has no order of its own. A folder without
    `classes.json` is of a model from elsewhere, which tells any countries apart. Raises ValueError
    where the countries differ and OSError for a damaged `classes.json`.
    """
    path = Path(folder, "classes.json")
    if not path.exists():
        return
    try:
        trained_on = json.loads(path.read_text(encoding="utf-8"))["classes"]
    except (ValueError, KeyError) as error:
        raise OSError(f"{folder}: no complete model ({error}); train it again") from error
    if different := sorted(set(trained_on) ^ set(classes)):
        raise ValueError(
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
        revision: str | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        """`names` (k): display names of the countries in the order of the columns of the result.
        `template` makes a text of a name; the study uses the bare name. `model`, `revision`: see
        load_clip. `device`: a GPU if there is one, when None. Raises ValueError for a template
        with another field than {country}, or without it.
        """
        if mistake := prompt_mistake(template):
            raise ValueError(f"the text of a country: {mistake}")
        default = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device or default)
        self.name = str(model)
        network, self.processor = load_clip(model, revision)
        self.network = network.to(self.device)
        self.texts = [template.format(country=name) for name in names]
        self.text_embeddings = self._embed_texts(self.texts)

    @torch.inference_mode()
    def _embed_texts(self, texts: list[str]) -> torch.Tensor:
        tokens = self.processor.tokenizer(texts, padding=True, return_tensors="pt")
        embeddings = self.network.get_text_features(**tokens.to(self.device)).pooler_output
        return torch.nn.functional.normalize(embeddings, dim=-1)  # (k, d)

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
        raise ValueError(f"{image_id} has no score map; give the masks file of its shard")
    return weighting.apply_factor(image, score, factor)


def _batched(items: Iterable[FullSize], size: int) -> Iterator[list[FullSize]]:
    """Lists of `size` items, the last one possibly shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def read_full_size(
    shards: Iterable[tuple[str | Path, str | Path | None]], image_ids: Container[str]
) -> Iterator[FullSize]:
    """Yield those images of the shards whose ids are among `image_ids`, one at a time.

    `shards`: pairs of an `images` file and its `masks` file, the latter None where nothing is
    weighted. Raises ValueError when the two files of a pair are not of the same images.
    """
    for images_path, masks_path in shards:
        scores = None if masks_path is None else stores.read_masks(masks_path, image_ids)
        for image_id, data in stores.read_images(images_path, image_ids=image_ids):
            score_id, score = (image_id, None) if scores is None else next(scores, (None, None))
            if score_id != image_id:
                raise ValueError(
                    f"{masks_path} does not hold the images of {images_path} in their order "
                    f"({score_id} for {image_id}); delete it and run snakemake again"
                )
            yield image_id, images.decode(data), score
