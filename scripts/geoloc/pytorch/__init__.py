"""What the PyTorch stages share."""
