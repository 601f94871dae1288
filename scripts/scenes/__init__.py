"""The demo's world: street scenes of several countries, drawn with a mask for every object."""
