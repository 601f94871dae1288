"""Whether the numbers of torch's networks are numbers."""

from __future__ import annotations

from torch import Tensor

from geoloc.errors import GeolocError


class NotFinite(GeolocError, ValueError):
    """A network gave NaN or infinity.

    Attributes:
        image: number of the image in its batch.
    """

    image = 0


def finite(x: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite; the sum, which is not finite then, is
    several times faster than a look at each."""
    return not x.is_floating_point() or bool(x.sum().isfinite()) or bool(x.isfinite().all())


def not_finite(what: str, precision: str) -> NotFinite:
    """The error of a network of the rule `segment` that computes in `precision`."""
    if precision == "float32":
        remedy = "its weights are not usable: delete their file and retrieve them again"
    else:
        remedy = "set the precision of the segmentation to float32 and run again"
    return NotFinite(f"the {what} is not finite in {precision}; {remedy}")
