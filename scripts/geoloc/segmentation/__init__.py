"""Segments of an image, their classes and the score of each pixel."""
