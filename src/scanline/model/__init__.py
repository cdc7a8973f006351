"""The network, and the model: network, task, preprocessing and provenance in one artifact."""
