"""Training: one loop that yields events. The caller logs, saves, plots or stops."""
