"""Networks as others run them, checked against ours before they are handed over."""
