"""How well a model does, and its answers for new sequences."""
