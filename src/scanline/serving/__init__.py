"""A model served over HTTP: predictions in batches, streams, and a page to watch the network read.

`start.py` turns the options of `scanline serve` into a running server; `app.py` is the ASGI application;
everything else is one concern each and knows no web framework.
"""
