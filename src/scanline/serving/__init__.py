"""A model over HTTP: answers in batches, streams, a page to watch it read."""
