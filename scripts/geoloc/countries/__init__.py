"""Find countries by coordinates or by name, and name them."""
