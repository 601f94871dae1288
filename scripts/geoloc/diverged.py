"""The error of a training whose numbers are none, of Keras and of torch."""


class Diverged(RuntimeError):
    """A loss, a gradient or a weight of a training is not finite."""
