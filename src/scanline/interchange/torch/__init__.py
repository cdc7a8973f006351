"""PyTorch import."""
