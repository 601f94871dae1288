"""Zero-shot countries from a CLIP model: which country's name fits the photograph best."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from geoloc.config import prompt_mistake
from geoloc.countries.places import Answers
from geoloc.errors import InputError
from geoloc.image_text.folder import load_clip, pixel_values
from geoloc.model_record import read_record

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
        StreetCLIP: shortest edge to 336 pixels, centre crop), see `pixel_values`.
        """
        pixels = pixel_values(self.processor, batch)
        embeddings = self.network.get_image_features(pixels.to(self.device)).pooler_output
        embeddings = torch.nn.functional.normalize(embeddings, dim=-1)  # (n, d)
        logits = self.network.logit_scale.exp() * embeddings @ self.text_embeddings.T
        return logits.float().softmax(dim=-1).cpu().numpy()

    def answer(self, images: Sequence[np.ndarray]) -> Answers:
        """What `probabilities` says of images, as evaluation takes it."""
        return Answers(self.probabilities(images))
