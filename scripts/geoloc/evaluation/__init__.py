"""Predictions, metrics, Table 1 and figures."""

import os

os.environ["MPLBACKEND"] = "agg"  # whatever a notebook or a desktop set
