"""Search for settings: `scanline tune`.

A study asks Optuna for trials in generations, trains each as an ordinary run, stops the worse ones early and
trains the winner again on all but the test split.
"""
