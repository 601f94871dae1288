"""Device and precision of torch models, and batches that halve when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

from geoloc.errors import InputError
from geoloc.gpus import check_given_gpu, describe_cpu, driver_version, why_unusable
from geoloc.registry import Registry

log = logging.getLogger(__name__)

T = TypeVar("T")

PRECISIONS = Registry(
    "precision", {name: f"torch:{name}" for name in ("float32", "bfloat16", "float16")}
)
"""Floating-point types of torch by name."""


def choose_device(name: str | None = None) -> torch.device:
    """Return the named device; for None, CUDA if available and the CPU otherwise.

    Raises:
        InputError: if CUDA is requested and torch sees none.
    """
    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r}: torch sees no GPU; configure 'cpu' or 'auto'")
    return device


def use_threads(count: int) -> None:
    """Set the number of torch's threads to `count`, the cores of the job."""
    torch.set_num_threads(count)


def check_device(allow_cpu: bool = True) -> None:
    """Log what torch computes on: device, memory, driver and versions.

    Raises:
        NoGpu: if Slurm gave the job a GPU that torch can't use, unless `allow_cpu`.
    """
    driver, cuda = driver_version(), torch.version.cuda
    name = f"PyTorch {torch.__version__} (CUDA {cuda or 'none'})"
    if not torch.cuda.is_available():
        check_given_gpu(name, why_unusable(cuda, driver), allow_cpu)
        threads = torch.get_num_threads()
        log.info(
            "%s computes on the CPU with %d thread%s (%s)",
            name,
            threads,
            "s" * (threads != 1),
            describe_cpu(),
        )
        return
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        log.info(
            "%s computes on %s, %.1f GiB, compute capability %d.%d, driver %s",
            name,
            found.name,
            found.total_memory / 2**30,
            found.major,
            found.minor,
            driver,
        )


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context in which torch modules compute in float32, bfloat16 or float16."""
    dtype = PRECISIONS[precision]
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether torch ran out of device memory, or its CPU allocator failed."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


class AdaptiveBatches:
    """Applies a function to slices of a range; when memory runs out, slices halve permanently."""

    def __init__(self, size: int, name: str) -> None:
        if size < 1:
            raise InputError(f"{name} batch must be at least 1, is {size}")
        self.size = size
        self.name = name

    def map(self, function: Callable[[slice], T], total: int) -> list[T]:
        """Return the results of `function` for consecutive slices that cover range(total)."""
        results: list[T] = []
        start = 0
        while start < total:
            stop = min(start + self.size, total)
            try:
                results.append(function(slice(start, stop)))
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.size == 1:
                    raise
                self._halve()
                continue
            start = stop
        return results

    def _halve(self) -> None:
        self.size //= 2
        log.warning("out of memory: %s batch is now %d", self.name, self.size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
