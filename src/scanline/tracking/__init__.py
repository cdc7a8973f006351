"""Publishes runs to a tracking server (MLflow): while they are trained, or later.

Publishing has a process of its own (`worker`), which reads the run directory: training neither waits for a
server nor shares its interpreter with a client library. Only `server` and `packaging` import MLflow.
"""
