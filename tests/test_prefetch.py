"""Work ahead of who wants its results: in order, bounded, and no error is lost."""

import threading

import pytest

from geoloc.prefetch import map_ahead


def test_results_come_in_the_order_of_the_items():
    gate = threading.Event()

    def slow_first(number: int) -> int:
        if number == 0:
            gate.wait()
        if number == 1:
            gate.set()
        return number

    assert list(map_ahead(slow_first, range(5), ahead=3, workers=2)) == list(range(5))


def test_no_more_items_are_taken_than_asked_for():
    taken = []
    results = map_ahead(str, (taken.append(n) or n for n in range(100)), ahead=3)
    assert next(results) == "0"
    assert len(taken) == 4


def test_an_error_is_raised_where_its_result_would_be():
    results = map_ahead(lambda n: 1 // (2 - n), range(5), ahead=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_is_not_wanted_any_more_is_not_begun():
    begun, gate = [], threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number:
            gate.wait(10)

    results = map_ahead(work, range(9), ahead=9)
    next(results)
    threading.Timer(0.05, gate.set).start()
    results.close()
    assert len(begun) <= 2
