"""Models that answer with places on the earth."""
