"""GeoCLIP: which places of a gallery fit a photo best (Vivanco et al., 2023).

The package geoclip provides the location encoder, the layers on top of CLIP, their weights and the
gallery of 100,000 places. The CLIP, OpenAI's ViT-L/14, is a separate folder.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import CLIPModel

from geoloc.countries.places import Answers, Places, check_coordinates
from geoloc.errors import FileError, InputError, MissingFile
from geoloc.image_text.folder import load_clip, pixel_values
from geoloc.pytorch.device import choose_device
from geoloc.pytorch.weights import load_weights
from geoloc.tables import read_rows

log = logging.getLogger(__name__)

CLIP_FEATURES = 768
CLIP_SHAPE = {"hidden_size": 1024, "num_hidden_layers": 24, "patch_size": 14, "image_size": 224}
GALLERY_CHUNK = 8192  # places embedded at once
REINSTALL = "install the package geoclip again"
GALLERY = "give a CSV file with the columns LAT and LON in degrees"


class GeoClip:
    """Predicts places of a gallery.

    Args:
        classes: k ISO codes to choose from.
        geocoder: a key of `geoloc.countries.geocoding.GEOCODERS`, for the places of the gallery.
        backbone: folder of the CLIP, see `geoloc.image_text.folder.load_clip`.
        gallery: CSV file with the columns LAT and LON in degrees; None for the package's gallery.
        device: name of a torch device; None takes the GPU if one is available.

    Attributes:
        name: name of the model, for messages.
        places: the gallery, p places.

    Raises:
        InputError: if the package is missing, the CLIP has another width, or no place of the
            gallery is in one of the classes.
        OSError: if the folder does not hold a complete CLIP, or a file is missing, damaged or
            invalid. Reading weights runs no code.
    """

    def __init__(
        self,
        classes: Sequence[str],
        geocoder: str,
        backbone: str | Path,
        gallery: str | Path | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        package = _package()
        self.name = f"GeoCLIP with {backbone}"
        self.device = choose_device(device and str(device))
        coordinates = read_gallery(gallery or package / "gps_gallery/coordinates_100K.csv")
        self.places = Places(coordinates, classes, geocoder)
        clip, self._processor = load_clip(backbone)
        _check_clip(backbone, clip)
        self._clip = clip.to(self.device)
        weights = package / "weights"
        self._head = _load_head(weights / "image_encoder_mlp_weights.pth").to(self.device)
        self._scale = _load_scale(weights / "logit_scale_weights.pth").to(self.device)
        encoder = _load_location_encoder(weights / "location_encoder_weights.pth")
        self._embeddings = self._embed_places(encoder.to(self.device))

    @torch.inference_mode()
    def _embed_places(self, encoder: nn.Module) -> Tensor:
        """Return unit vectors (p, 512) of the gallery."""
        places = torch.tensor(self.places.coordinates, dtype=torch.float32)
        parts = [encoder(part.to(self.device)) for part in places.split(GALLERY_CHUNK)]
        embeddings = normalize(torch.cat(parts), dim=1)
        if not embeddings.isfinite().all():
            raise InputError(f"{self.name}: the embedding of a place is not finite; {REINSTALL}")
        return embeddings

    @torch.inference_mode()
    def probabilities(self, batch: Sequence[np.ndarray]) -> np.ndarray:
        """Return probabilities (n, p) float32 of the places; rows sum to 1.

        `batch` has n images uint8 (H, W, 3) RGB, which may differ in size; the CLIP's own processor
        resizes and crops.
        """
        pixels = pixel_values(self._processor, batch)
        features = self._clip.get_image_features(pixels.to(self.device)).pooler_output
        images = normalize(self._head(features), dim=1)
        return (self._scale.exp() * images @ self._embeddings.T).softmax(dim=1).cpu().numpy()

    def answer(self, images: Sequence[np.ndarray]) -> Answers:
        """Return countries and places of n images, see `geoloc.countries.places`."""
        return self.places.answer(self.probabilities(images))


def read_gallery(path: str | Path) -> np.ndarray:
    """Read the columns LAT and LON of a CSV file: (p, 2) float64, degrees.

    Raises:
        OSError: if the file is missing or not such a table, or it holds fewer than two places or an
            invalid one.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"{path}: no such gallery of places; {GALLERY}")
    rows = read_rows(path, ["LAT", "LON"], _no_gallery)
    if len(rows) < 2:
        raise FileError(f"{path}: {len(rows)} places are not a choice; {GALLERY}")
    try:
        numbers = [pd.to_numeric([row[name] for row in rows]) for name in ("LAT", "LON")]
        return check_coordinates(np.column_stack(numbers))
    except ValueError as error:
        raise _no_gallery(path, error) from error


def _no_gallery(path: str | Path, reason: object) -> FileError:
    return FileError(f"{path}: no gallery of places ({str(reason).splitlines()[0]}); {GALLERY}")


def _package() -> Path:
    """Return the folder of the package's model."""
    try:
        from geoclip import model
    except ImportError as error:
        raise InputError(
            f"GeoCLIP needs the package geoclip ({error}); run pip install geoclip==1.2.0"
        ) from error
    return Path(model.__file__).parent


def _check_clip(folder: str | Path, clip: CLIPModel) -> None:
    """Check that the CLIP has the width of the layers on top of it, and seems to be theirs."""
    config = clip.config
    if config.projection_dim != CLIP_FEATURES:
        raise InputError(
            f"{folder}: this CLIP gives {config.projection_dim} features, GeoCLIP needs the "
            f"{CLIP_FEATURES} of openai/clip-vit-large-patch14; give the folder of that"
        )
    if any(getattr(config.vision_config, key) != size for key, size in CLIP_SHAPE.items()):
        log.warning(
            "%s is not openai/clip-vit-large-patch14, with which GeoCLIP was trained; its answers "
            "mean nothing with another CLIP",
            folder,
        )


def _load_head(path: Path) -> nn.Module:
    head = nn.Sequential(nn.Linear(CLIP_FEATURES, 768), nn.ReLU(), nn.Linear(768, 512))
    return load_weights(head, path, "the head of GeoCLIP", REINSTALL).eval()


def _load_location_encoder(path: Path) -> nn.Module:
    from geoclip.model.location_encoder import LocationEncoder

    encoder = LocationEncoder(from_pretrained=False)
    return load_weights(encoder, path, "the location encoder of GeoCLIP", REINSTALL).eval()


def _load_scale(path: Path) -> Tensor:
    """Load the logarithm of the similarity scale."""
    try:
        scale = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # a damaged file can make torch raise anything
        raise FileError(f"{path}: damaged, or not a file of weights; {REINSTALL}") from error
    if not torch.is_tensor(scale) or scale.numel() != 1 or not scale.isfinite().all():
        raise FileError(f"{path}: not one finite number; {REINSTALL}")
    return scale.detach().float().reshape(())
