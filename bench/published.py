"""Masks and scores as computed by the published code, to measure and compare against.

One mask at a time: cropped from the whole image, one crop through the classifier, painted with
NumPy ("Beyond the Image", sections on object classification and masks, and its notebook). Its plots
are omitted.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from torchvision.transforms import CenterCrop, Compose, Resize

from geoloc.segmentation.classifiers.base import CropClassifier
from geoloc.segmentation.scoring import segment_scores


def crop(
    image: np.ndarray, mask: np.ndarray, resize: int = 256, input_size: int = 224
) -> np.ndarray | None:
    """Crop a mask, bool (H, W), from an image, uint8 (H, W, 3): contour, square, resize, center.

    None if no pixel of the mask is bright enough.
    """
    masked = np.where(mask[..., None], image, 0).astype(np.uint8)
    gray = cv2.cvtColor(masked, cv2.COLOR_RGB2GRAY)
    _, binary = cv2.threshold(gray, 1, 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    x, y, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
    side = max(width, height)
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = masked[y : y + height, x : x + width]
    whole = Image.fromarray(square)
    return np.array(Compose([Resize(resize), CenterCrop(input_size)])(whole))


@torch.inference_mode()
def classify(classifier: CropClassifier, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ten best classes of a crop and their probabilities, each (10,)."""
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (classifier.mean, classifier.std))
    logits = classifier.model((tensor - mean).div(std).to(classifier.device))
    probability, class_id = logits.float().softmax(1).topk(10)
    return class_id[0].cpu().numpy(), probability[0].cpu().numpy()


def score_map(
    image: np.ndarray,
    sam: Sam,
    classifier: CropClassifier,
    selected: np.ndarray,
    **settings,
) -> tuple[np.ndarray, int]:
    """Return the scores of an image, uint8 (H, W) in 0–100, and its number of masks."""
    masks = SamAutomaticMaskGenerator(sam, **settings).generate(image)
    score = np.zeros(image.shape[:2], np.uint8)
    for entry in masks:
        mask = entry["segmentation"]
        pixels = crop(image, mask, classifier.resize, classifier.input_size)
        if pixels is None:
            continue
        class_id, probability = classify(classifier, pixels)
        value = segment_scores(class_id[None], probability[None], selected)[0]
        if value:
            score[mask] = np.maximum(score[mask], value)
    return score, len(masks)
