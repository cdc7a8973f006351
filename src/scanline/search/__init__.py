"""Search for settings: `scanline tune`.

A study asks Optuna for trials in generations, trains each as an ordinary run, stops the worse ones early and
trains the winner again on all but the test split.
"""

from scanline.errors import MissingExtraError


def check_installed() -> None:
    """Raise MissingExtraError without Optuna, which all modules of this package but `records` need."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise MissingExtraError("scanline tune", ["optuna"], "tune") from None
