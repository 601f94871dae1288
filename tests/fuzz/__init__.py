"""Hostile inputs, made from a seed and given to the workflow's code.

    PYTHONPATH=scripts .venv/bin/python -m tests.fuzz --minutes 15 --seed 1

A target is a module of this package with one function

    def case(rng: numpy.random.Generator, folder: pathlib.Path) -> str

which writes one hostile input into the empty `folder`, runs the workflow's code on it and returns
the name of the outcome, such as "read". It raises AssertionError where the result is wrong. What
the workflow raises as a named error (`geoloc.logs.expected_at`) is an outcome, too. Everything else
is a finding: another exception, more time or memory than a case may take, the end of the process.
"""
