"""Explanations of single predictions: probabilities after each step, gates and states, attributions."""
