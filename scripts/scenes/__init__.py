"""The demo's world: street scenes of several countries, drawn with the mask of every object."""
