"""One reader for each kind of data source."""
