"""Check the outputs of torch networks for NaN and infinity."""

from __future__ import annotations

from torch import Tensor

from geoloc.errors import GeolocError


class NotFinite(GeolocError, ValueError):
    """A network returned NaN or infinity.

    Attributes:
        image: index of the image in its batch.
    """

    image = 0


def finite(x: Tensor) -> bool:
    """Return whether a tensor has neither NaN nor infinity.

    The sum comes first: it is not finite if any number isn't, and it is several times faster than
    checking each number.
    """
    return not x.is_floating_point() or bool(x.sum().isfinite()) or bool(x.isfinite().all())


def not_finite(what: str, precision: str) -> NotFinite:
    """Return the error for a network of the rule `segment` that computes in `precision`."""
    if precision == "float32":
        remedy = "its weights are not usable: delete their file and retrieve them again"
    else:
        remedy = "set the precision of the segmentation to float32 and run again"
    return NotFinite(f"the {what} is not finite in {precision}; {remedy}")
