"""Why a model answers as it does, and whether the scored objects carry the answer."""
