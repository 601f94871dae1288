"""The Muon optimizer in single precision.

`torch.optim.Muon` orthogonalizes in bfloat16, which is slow on processors without bfloat16
arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz iteration (Jordan et al.)
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose update of a matrix is the nearest orthogonal one.

    Source: Jordan et al., "Muon", 2024. Updates are scaled to the size of AdamW's (Liu et al.,
    "Muon is scalable", 2025). Parameters must be matrices.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: torch.nn.Parameter, group: dict) -> None:
        gradient, state = parameter.grad, self.state[parameter]
        if not state:
            state["mean"] = torch.zeros_like(gradient)
        state["mean"].lerp_(gradient, 1 - group["momentum"])
        direction = orthogonal(gradient.lerp(state["mean"], group["momentum"]))
        size = 0.2 * math.sqrt(max(parameter.shape))
        parameter.mul_(1 - group["lr"] * group["decay"])
        parameter.add_(direction, alpha=-group["lr"] * size)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix (m, n) with the singular vectors of `matrix` and singular values near 1."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x
