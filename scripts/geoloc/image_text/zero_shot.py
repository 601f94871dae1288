"""Zero-shot countries from a CLIP: which country's name fits the photo best."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from geoloc.config import prompt_mistake
from geoloc.countries.places import Answers
from geoloc.errors import InputError
from geoloc.image_text.folder import load_clip, pixel_values
from geoloc.model_record import read_record

SAME_EMBEDDING = 1e-6  # largest difference between entries of unit vectors due to rounding


def check_classes(folder: str | Path, classes: Iterable[str]) -> None:
    """Check that a CLIP trained here knows the requested countries.

    A folder without `classes.json` holds a model from elsewhere, which works for any countries.

    Args:
        folder: the CLIP.
        classes: ISO codes in any order, because a CLIP has no order of classes.

    Raises:
        InputError: if the countries differ.
        OSError: if `classes.json` is damaged.
    """
    if not Path(folder, "classes.json").exists():
        return
    trained_on = read_record(folder).classes
    if different := sorted(set(trained_on) ^ set(classes)):
        raise InputError(
            f"{folder}: trained on other classes ({', '.join(different)} differ); train it again"
        )


class ClipZeroShot:
    """Zero-shot country probabilities, computed as CLIP's authors classify.

    They are the softmax over the similarities of the image with one text per country (Radford et
    al. 2021, section 3.1; StreetCLIP, Haas et al. 2023, works the same way). The texts are embedded
    once, not for each image.
    """

    def __init__(
        self,
        model: str | Path,
        names: Sequence[str],
        template: str = "{country}",
        device: str | torch.device | None = None,
    ) -> None:
        """Load the model and embed the texts.

        Args:
            model: its folder, see `load_clip`.
            names: display names of k countries, in the order of the result's columns.
            template: turns a name into a text; the study uses the bare name.
            device: name of a torch device; None takes the GPU if one is available.

        Raises:
            InputError: if the template has a field other than {country}, or none, or the model
                can't read the texts or tell them apart.
            OSError: if the folder does not hold a complete CLIP.
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
        """Check that every text fits the model and the tokenizer knows all of it."""
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
        """Check that no two texts have the same embedding, up to float rounding."""
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
        """Return probabilities (n, k) float32 of n images uint8 (H, W, 3) RGB; rows sum to one.

        Images may differ in size. The model's own processor resizes and crops (for StreetCLIP:
        shorter side to 336 pixels, center crop), see `pixel_values`.
        """
        pixels = pixel_values(self.processor, batch)
        embeddings = self.network.get_image_features(pixels.to(self.device)).pooler_output
        embeddings = torch.nn.functional.normalize(embeddings, dim=-1)  # (n, d)
        logits = self.network.logit_scale.exp() * embeddings @ self.text_embeddings.T
        return logits.float().softmax(dim=-1).cpu().numpy()

    def answer(self, images: Sequence[np.ndarray]) -> Answers:
        """Return the probabilities of images in the form that evaluation takes."""
        return Answers(self.probabilities(images))
