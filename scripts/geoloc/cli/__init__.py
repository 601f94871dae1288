"""The commands of `geoloc`."""
