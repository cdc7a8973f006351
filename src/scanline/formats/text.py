"""Numbers in text."""

from __future__ import annotations


def is_number(text: str) -> bool:
    """Return whether `text` is a number, NaN or infinity.

    Python reads 1_2 as 12; here it is not a number but a name.
    """
    try:
        float(text.replace("_", "?"))
    except ValueError:
        return False
    return True
