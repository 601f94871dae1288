"""Devices and weights, shared by the PyTorch stages."""
