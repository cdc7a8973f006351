"""Import from and export to other frameworks: one package each, with `read` and `write` as entry points."""
