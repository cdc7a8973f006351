"""Bytes to Sequences: readers, named data sets, splits, batches."""
