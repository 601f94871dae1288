"""Countries: from coordinates, from names, and their names for reading."""
