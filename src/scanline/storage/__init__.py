"""Files of our own: atomic writes, sealed JSON, tensor files."""
