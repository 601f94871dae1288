"""Networks that name every pixel."""
