"""The local page over a finished run: `geoloc explore`."""
