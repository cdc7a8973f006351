"""The report of a study: what a search for settings found, as a table, a page and JSON."""
