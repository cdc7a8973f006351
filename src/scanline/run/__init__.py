"""A run on disk: its folder, its checkpoints, and what machine it ran on."""
