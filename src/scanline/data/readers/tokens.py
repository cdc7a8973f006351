"""Text as tokens: characters, bytes or words, as codes into the names that occur."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from scanline.recipe import DataSettings

_LONGEST_WORD = 100  # characters; longer ones, such as encoded data, become several
_FEW_WORDS = 3  # texts with fewer words on average, such as names, are read as characters
_SAMPLE = 1000  # texts that are looked at to decide that


class _Codes(dict[str, int]):
    """Codes of names by first appearance."""

    def __missing__(self, name: str) -> int:
        self[name] = code = len(self)
        return code


class Tokenizer:
    """Divides texts into tokens and collects their names.

    Args:
        kind: "characters", "bytes" or "words".
        lower_case: Whether letters are compared without case.
        longest: Tokens of a text that are kept, from its beginning; 0: all.

    Attributes:
        cut: Number of texts that had more.
    """

    def __init__(self, kind: str, lower_case: bool, longest: int) -> None:
        self._kind, self._lower, self._longest, self.cut = kind, lower_case, longest, 0
        self._codes = _Codes()

    @classmethod
    def of(cls, settings: DataSettings) -> Tokenizer:
        """Return the tokenizer of the settings, in which `tokens` is not empty."""
        return cls(settings.tokens, settings.lower_case, settings.maximum_length)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the codes so far."""
        return tuple(self._codes)

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the codes of all tokens one after another, and the number of tokens of each text."""
        divide = _DIVIDE[self._kind]
        tokens: list[str] = []
        lengths, longest = np.empty(len(texts), np.int64), self._longest
        for index, text in enumerate(texts):
            found = divide(text.lower() if self._lower else text)
            if longest and len(found) > longest:
                found, self.cut = found[:longest], self.cut + 1
            lengths[index] = len(found)
            tokens += found
        return np.fromiter(map(self._codes.__getitem__, tokens), np.int32, len(tokens)), lengths


def kind_of(texts: Sequence[str]) -> str:
    """Return "words", or "characters" for texts of few words."""
    sample = texts[:_SAMPLE]
    return (
        "words" if sum(len(words_of(text)) for text in sample) >= _FEW_WORDS * len(sample) else "characters"
    )


_ASCII = re.compile(rf"\w{{1,{_LONGEST_WORD}}}|[^\w\s]", re.ASCII)


@cache
def _unicode() -> re.Pattern[str]:
    r"""Return the pattern of words in any script.

    Python's \w lacks the marks that are parts of words in the scripts of India and in decomposed text: those
    of the Unicode categories Mn and Mc (UTS #18, compatibility property `word`).
    """
    marks = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Mn", "Mc")]
    breaks = np.flatnonzero(np.diff(marks) != 1)
    ranges = zip(np.append(0, breaks + 1), np.append(breaks, len(marks) - 1), strict=True)
    inside = "".join(f"{re.escape(chr(marks[a]))}-{re.escape(chr(marks[b]))}" for a, b in ranges)
    return re.compile(rf"[\w{inside}]{{1,{_LONGEST_WORD}}}|[^\w\s{inside}]")


def words_of(text: str) -> list[str]:
    """Return the words of a text, and each mark of punctuation and symbol as a token of its own."""
    return _ASCII.findall(text) if text.isascii() else _unicode().findall(text)


def _bytes_of(text: str) -> list[str]:
    """Return the bytes of a text in UTF-8, printable ASCII as it is and others as hexadecimal digits."""
    return [_BYTES[byte] for byte in text.encode()]


_BYTES = [chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in range(256)]
_DIVIDE: dict[str, Callable[[str], list[str]]] = {"words": words_of, "characters": list, "bytes": _bytes_of}
