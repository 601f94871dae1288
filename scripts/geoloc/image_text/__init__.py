"""CLIP: zero-shot prediction and contrastive training."""
