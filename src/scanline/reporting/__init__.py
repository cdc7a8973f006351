"""The report of a run: one HTML page with its metrics, errors and everything needed to reproduce it."""
