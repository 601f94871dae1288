"""Attention relevance of a CLIP: which patches of an image speak for a country's text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from geoloc.errors import InputError
from geoloc.explain.methods import ATTENTION_RELEVANCE, Explain, Settings
from geoloc.explain.relevance import as_relevance
from geoloc.image_text.folder import normalized_pixels, seen_pixels
from geoloc.image_text.zero_shot import ClipZeroShot
from geoloc.pytorch.device import AdaptiveBatches

BATCH = 32  # images whose probabilities are computed at once
ATTENTION_BYTES = 1 << 30
"""Largest size of the attention of a batch whose gradients are computed. With gradients and what
the layers keep for them, several times as much memory is used."""


class ClipProbe:
    """A CLIP with the texts of the countries, whose answers are explained.

    Args:
        model: the CLIP. It belongs to the probe from now on, which changes how it computes
            attention: only the plain way returns the weights.

    Attributes:
        side: pixels of a side of the images that the model sees.

    Raises:
        InputError: if the model's processor cuts off a part of square images.
    """

    def __init__(self, model: ClipZeroShot) -> None:
        self._processor, self._device = model.processor, model.device
        self._network = model.network.requires_grad_(False)
        self._network.set_attn_implementation("eager")
        # A copy, because torch lets nobody compute gradients with what `inference_mode` made.
        self._texts = torch.nn.Parameter(model.text_embeddings.clone(), requires_grad=False)
        vision = self._network.config.vision_config
        self.side = vision.image_size
        tokens = (vision.image_size // vision.patch_size) ** 2 + 1
        attention = 4 * vision.num_hidden_layers * vision.num_attention_heads * tokens**2
        self._batches = AdaptiveBatches(max(1, ATTENTION_BYTES // attention), "explanation")
        self._answers = AdaptiveBatches(BATCH, "answer")
        _check_whole(model)

    def seen(self, image: np.ndarray) -> np.ndarray:
        """Resize an image uint8 (H, W, 3), H = W, as the model's processor does.

        Returns:
            uint8 (side, side, 3). `probabilities` of it are those of the image itself.
        """
        return seen_pixels(self._processor, [image])[0]

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Return probabilities float32 (n, classes) of images uint8 (n, side, side, 3)."""

        def probabilities(part: slice) -> np.ndarray:
            # Without attention: that of all layers of StreetCLIP takes 0.5 GB an image.
            logits, _ = self._logits(self._pixels(image[part]), attention=False)
            return logits.softmax(dim=-1).cpu().numpy()

        with torch.inference_mode():
            return np.concatenate(self._answers.map(probabilities, len(image)))

    def explainers(self, settings: Settings) -> dict[str, Explain]:
        """Return the only method for a CLIP, see `Explain`. It has no settings."""
        return {ATTENTION_RELEVANCE: self.attention_relevance}

    def completeness(
        self, image: np.ndarray, answer: np.ndarray, settings: Settings
    ) -> dict[str, np.ndarray]:
        """Return nothing: attention relevance need not add up to anything."""
        return {}

    def layers(self) -> list[ModuleLayer]:
        """Return the layers of the image encoder from input to output.

        A transformer block counts as one. The last one is the texts' embeddings, which are to the
        image's embedding what the weights of a classifier are to its features.
        """
        vision = self._network.vision_model
        modules = [
            vision.embeddings,
            vision.pre_layrnorm,
            *vision.encoder.layers,
            vision.post_layernorm,
            self._network.visual_projection,
        ]
        return [*(ModuleLayer(list(m.parameters())) for m in modules), ModuleLayer([self._texts])]

    def attention_relevance(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Compute how relevant each place of an image is to the score of a class.

        Args:
            image: uint8 (n, side, side, 3).
            answer: the class to explain, int (n,).

        Returns:
            float32 (n, side, side), see `as_relevance`: `patch_relevance`, enlarged bilinearly.
        """
        patches = torch.from_numpy(self.patch_relevance(image, answer))[:, None]
        size = (self.side, self.side)
        maps = functional.interpolate(patches, size, mode="bilinear", align_corners=False)
        return as_relevance(maps[:, 0].numpy())

    def patch_relevance(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Compute the relevance of the patches of an image to the score of a class.

        The score is the similarity of image and text, scaled as before the softmax. In each layer,
        attention that raises the score passes relevance on: Ā is the mean over heads of the
        positive part of attention times its gradient, and R ← R + Ā R, starting from the identity.
        The answer is read from the class token, so its row of R is the relevance of the patches.
        Only this row is computed, from the last layer to the first: r ← r + r Ā.

        Args:
            image: uint8 (n, side, side, 3).
            answer: the class to explain, int (n,).

        Returns:
            float32 (n, rows, columns), non-negative.

        Source: Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting
        Bi-Modal and Encoder-Decoder Transformers", ICCV 2021, equations 5 and 6.
        """
        parts = self._batches.map(
            lambda part: self._patch_relevance(image[part], answer[part]), len(image)
        )
        return np.concatenate(parts)

    def _patch_relevance(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        # Gradients with respect to attention need a graph, which begins at the pixels.
        logits, attentions = self._logits(self._pixels(image).requires_grad_(True), attention=True)
        chosen = logits[torch.arange(len(answer)), torch.as_tensor(answer)]
        gradients = torch.autograd.grad(chosen.sum(), attentions)
        relevance = torch.zeros(len(image), 1, attentions[0].shape[-1], device=logits.device)
        relevance[..., 0] = 1
        for attention, gradient in reversed(list(zip(attentions, gradients, strict=True))):
            passed_on = (attention.detach() * gradient).clamp(min=0).mean(dim=1)
            relevance = relevance + relevance @ passed_on
        side = round((relevance.shape[-1] - 1) ** 0.5)
        return relevance[:, 0, 1:].reshape(-1, side, side).cpu().numpy()

    def _pixels(self, image: np.ndarray) -> torch.Tensor:
        return normalized_pixels(self._processor, image).to(self._device)

    def _logits(
        self, pixels: torch.Tensor, attention: bool
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...] | None]:
        """Return scores before the softmax, float32 (n, classes), and, if asked for, the attention
        of each layer, (n, heads, tokens, tokens)."""
        found = self._network.get_image_features(pixels, output_attentions=attention)
        embeddings = functional.normalize(found.pooler_output, dim=-1)
        logits = self._network.logit_scale.exp() * embeddings @ self._texts.T
        return logits.float(), found.attentions


class ModuleLayer:
    """Parameters of a torch network that are randomized together, see `Layer`."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        self._parameters = parameters

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of the values."""
        return [each.detach().cpu().numpy().copy() for each in self._parameters]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Set the values, of the same shapes."""
        with torch.no_grad():
            for each, values in zip(self._parameters, weights, strict=True):
                each.copy_(torch.from_numpy(values))


def _check_whole(model: ClipZeroShot) -> None:
    """Check that the processor keeps all of a square image, so that maps are of the whole image."""
    processor = model.processor.image_processor
    shortest = (processor.size or {}).get("shortest_edge")
    if not (processor.do_center_crop and processor.do_resize and shortest):
        return
    if shortest != processor.crop_size["height"]:
        raise InputError(
            f"{model.name}: its processor cuts {shortest} pixels down to "
            f"{processor.crop_size['height']}, so no map would be of the whole image; set "
            "size.shortest_edge to the side of crop_size in its preprocessor_config.json, or "
            "explain.images to 0"
        )
