"""Prefetch results in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int, workers: int = 1
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, with up to `ahead` results prefetched.

    An exception of `function` is raised in the place of its result.
    """
    todo, pool = iter(items), ThreadPoolExecutor(workers)
    try:
        waiting = deque(pool.submit(function, item) for item in islice(todo, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(todo, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
