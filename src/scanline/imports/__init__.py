"""Networks that others trained, read without running anything of theirs."""
