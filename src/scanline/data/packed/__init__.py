"""Packed data sets: Parquet files with one row a sequence, and a manifest, local or in an object store."""
