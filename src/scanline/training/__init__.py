"""Fitting the weights: one visible loop that yields records; whoever calls it logs, saves, draws or stops."""
