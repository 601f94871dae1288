"""The CLIP trained here: its size, training settings and network."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

CAPTIONS = (
    "{country}",
    "a street in {country}",
    "a road in {country}",
    "a street view photo from {country}",
    "this photo was taken in {country}",
)


@dataclass(frozen=True)
class ClipParameters:
    """Size of the model and settings of its training; lengths in pixels, times in epochs."""

    image_size: int = 112
    patch_size: int = 16
    hidden_size: int = 128
    layers: int = 3
    heads: int = 4
    text_hidden_size: int = 64
    text_layers: int = 1
    projection_dim: int = 64
    epochs: int = 30
    warmup: float = 2
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    smallest_crop: float = 0.5  # fraction of the image's area
    captions: Sequence[str] = CAPTIONS


def build_clip(tokenizer: CLIPTokenizer, parameters: ClipParameters) -> CLIPModel:
    """Build an untrained CLIP whose text encoder fits the tokenizer."""
    p = parameters
    vision = {
        "hidden_size": p.hidden_size,
        "intermediate_size": 4 * p.hidden_size,
        "num_hidden_layers": p.layers,
        "num_attention_heads": p.heads,
        "image_size": p.image_size,
        "patch_size": p.patch_size,
        "projection_dim": p.projection_dim,
    }
    text = {
        "hidden_size": p.text_hidden_size,
        "intermediate_size": 4 * p.text_hidden_size,
        "num_hidden_layers": p.text_layers,
        "num_attention_heads": max(1, p.text_hidden_size // 32),
        "vocab_size": len(tokenizer),
        "max_position_embeddings": tokenizer.model_max_length,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "projection_dim": p.projection_dim,
    }
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=p.projection_dim)
    return CLIPModel(config)
