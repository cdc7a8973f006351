"""Text of files: numbers in it, its encoding, and the mark that it may begin with."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from scanline.errors import join_names

# Windows programs write it before text in UTF-8. It is not part of the text.
BYTE_ORDER_MARK = "\ufeff"
# Soft hyphen, zero-width blank, word joiner and its neighbours, byte-order mark; not the zero-width joiners,
# which are part of words in some scripts.
_INVISIBLE = re.compile("[\u00ad\u200b\u2060-\u2064\ufeff]")
# A number with a decimal comma. 1,234,567 is not one: there the commas separate thousands.
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*")
# Marks that neither numbers nor quotes nor words have.
_SEPARATORS = ",;|:/!#$%&*=^~"
_LISTED = 12  # names in a message
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(?:,\d{3})+\s*")


def is_number(text: str) -> bool:
    """Return whether `text` is a number, NaN or infinity.

    Python reads 1_2 as 12; here it is not a number but a name.
    """
    try:
        float(text.replace("_", "?"))
    except ValueError:
        return False
    return True


def is_integer_text(text: str) -> bool:
    """Return whether `text` is an integer that 64 bits can hold."""
    return re.fullmatch(r"\s*-?\d{1,19}\s*", text) is not None and -(2**63) <= int(text) < 2**63


def has_decimal_comma(text: str) -> bool:
    """Return whether `text` is a number if a comma separates its decimals, and not otherwise."""
    return _DECIMAL_COMMA.fullmatch(text) is not None


def may_be_thousands(text: str) -> bool:
    """Return whether the commas of `text` may separate thousands, as in 1,250."""
    return _THOUSANDS.fullmatch(text) is not None


def known_separator(name: str) -> str:
    """Return the name of a separator of cells: a punctuation mark, "tab", "blanks", or "" to infer it.

    A tab character and its escape are called "tab", a blank "blanks".

    Raises:
        ValueError: If cells cannot be separated by it.
    """
    name = {"\t": "tab", "\\t": "tab", " ": "blanks"}.get(name, name)
    if name in ("", "tab", "blanks") or (len(name) == 1 and name in _SEPARATORS):
        return name
    raise ValueError(
        f"data.separator must be tab, blanks or one of {' '.join(_SEPARATORS)}, got {name[:40]!r}"
    )


def known_encoding(name: str) -> str:
    """Return `name` if it is a text encoding that Python knows, or empty.

    Raises:
        ValueError: If it is not.
    """
    try:
        if not name or (codecs.lookup(name) and isinstance(b"aaaa".decode(name, "replace"), str)):
            return name
    except (LookupError, ValueError):  # ValueError: a NUL character in the name
        pass
    raise ValueError(
        f"data.encoding must be a text encoding such as utf-8, cp1252, latin-1 or utf-16, got {name[:40]!r}"
    )


def appearance(text: str) -> str:
    """Return what `text` looks like: composed, without invisible characters, and with one kind of blank."""
    if text.isascii() and text.isprintable():
        return text.strip()
    return re.sub(r"\s", " ", _INVISIBLE.sub("", unicodedata.normalize("NFC", text))).strip()


def look_alike(texts: Iterable[str]) -> tuple[str, str] | None:
    """Return two different texts that look the same, or None."""
    seen: dict[str, str] = {}
    for text in texts:
        other = seen.setdefault(appearance(text), text)
        if other != text:
            return other, text
    return None


def joined_beside(found: Iterable[object], expected: Iterable[object]) -> Callable[[Sequence[object]], str]:
    """Return how to list names in a message, so that those that were found differ from those expected.

    Args:
        found: Names that were found.
        expected: Names that were expected instead.

    Returns:
        `join_names`, or the same with quotes and escapes if one of `found` looks like one of `expected`: they
        differ in blanks, invisible characters or type.
    """
    known = {" ".join(appearance(str(name)).split()) for name in expected}
    if not any(" ".join(appearance(str(name)).split()) in known for name in found):
        return join_names

    def join(names: Sequence[object]) -> str:
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return ", ".join(map(escaped, names[:_LISTED])) + more

    return join


def escaped(value: object) -> str:
    """Return `value` in quotes and ASCII, cut to 63 characters if it has 80 or more."""
    text = ascii(value)
    return text if len(text) < 80 else f"{text[:60]}..."
