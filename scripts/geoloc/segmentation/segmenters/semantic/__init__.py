"""Semantic segmentation networks, which label every pixel."""
