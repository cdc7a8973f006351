"""Publishes runs to a tracking server."""
