"""Numbers in text, and the mark that text may begin with."""

from __future__ import annotations

# Windows programs write it before text in UTF-8. It is not part of the text.
BYTE_ORDER_MARK = "\ufeff"


def is_number(text: str) -> bool:
    """Return whether `text` is a number, NaN or infinity.

    Python reads 1_2 as 12; here it is not a number but a name.
    """
    try:
        float(text.replace("_", "?"))
    except ValueError:
        return False
    return True
