"""TensorFlow 1 import."""
