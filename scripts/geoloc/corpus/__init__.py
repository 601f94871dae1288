"""From raw files to the index, prepared images and arrays."""
