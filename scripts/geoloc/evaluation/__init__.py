"""Predictions, metrics, Table 1 and figures."""
