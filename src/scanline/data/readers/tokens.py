"""Text as tokens: characters, bytes or words, as codes into the names that occur."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from scanline.recipe import DataSettings

_LONGEST_WORD = 100  # characters; longer ones, such as encoded data, become several
_FEW_WORDS = 3  # texts with fewer words on average, such as names, are read as characters
_SAMPLE = 1000  # texts that are looked at to decide that


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of texts.

    Attributes:
        codes: (S,) int32 index into `names` of each token, those of all texts one after another.
        lengths: (N,) int64 number of tokens of each text.
        names: The tokens that occur, by first appearance.
        cut: Number of texts that had more tokens than are read.
    """

    codes: NDArray[np.int32]
    lengths: NDArray[np.int64]
    names: tuple[str, ...]
    cut: int


def encode(texts: Sequence[str], settings: DataSettings) -> Tokens:
    """Return the tokens of texts.

    Args:
        texts: The texts.
        settings: `tokens` says what a token is and is not empty; `lower_case` and `maximum_length` apply.
    """
    if settings.tokens == "words":
        found = _encode_words(texts, settings.lower_case)
    else:
        if settings.lower_case:
            texts = [text.lower() for text in texts]
        found = _encode_numbers(texts, settings.tokens == "bytes")
    longest = settings.maximum_length
    cut = int((found.lengths > longest).sum()) if longest else 0
    return _cut(found, longest, cut) if cut else found


def divide(text: str, settings: DataSettings) -> list[str]:
    """Return the tokens of one text, as `encode` finds them."""
    text = text.lower() if settings.lower_case else text
    if settings.tokens == "words":
        # Pieces, as characters that are blanks in Unicode only are words in a pattern for ASCII.
        found = [word for piece in text.split() for word in words_of(piece)]
    else:
        found = [_BYTES[byte] for byte in text.encode()] if settings.tokens == "bytes" else list(text)
    return found[: settings.maximum_length] if settings.maximum_length else found


class _Numbers(dict[str, int]):
    """Numbers of names by first appearance."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self)
        return number


def _encode_words(texts: Sequence[str], lower: bool) -> Tokens:
    """Return the words of texts.

    No word has a blank in it, so that texts are divided at blanks, and each distinct piece into words once.
    """
    known = _Numbers()
    pieces: list[str] = []
    counts = np.empty(len(texts), np.int64)
    for index, text in enumerate(texts):
        own = text.split()
        counts[index] = len(own)
        pieces += own
    numbers = np.fromiter(map(known.__getitem__, pieces), np.int64, len(pieces))
    del pieces
    words = _Numbers()
    divided = [words_of(piece.lower() if lower else piece) for piece in known]
    sizes = np.fromiter(map(len, divided), np.int64, len(divided))
    codes = np.fromiter((words[word] for own in divided for word in own), np.int32, int(sizes.sum()))
    first = np.cumsum(sizes) - sizes
    # The words of the piece `numbers[i]` are `codes[first : first + size]` of that piece.
    own_sizes = sizes[numbers]
    ends = np.cumsum(own_sizes)
    places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first[numbers] - ends + own_sizes, own_sizes)
    totals = np.append(0, ends)
    ends_of_texts = totals[np.cumsum(counts)]
    return Tokens(codes[places], np.diff(ends_of_texts, prepend=0), tuple(words), 0)


def _encode_numbers(texts: Sequence[str], as_bytes: bool) -> Tokens:
    """Return the characters of texts, or the bytes of their UTF-8."""
    if as_bytes:
        contents = [text.encode() for text in texts]
        lengths = np.fromiter(map(len, contents), np.int64, len(contents))
        points = np.frombuffer(b"".join(contents), np.uint8)
    else:
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    size = 256 if as_bytes else sys.maxunicode + 1
    first = np.full(size, len(points))
    np.minimum.at(first, points, np.arange(len(points)))
    present = np.flatnonzero(first < len(points))
    present = present[np.argsort(first[present])]
    codes = np.zeros(size, np.int32)
    codes[present] = np.arange(len(present))
    names = (_BYTES[each] if as_bytes else chr(each) for each in present.tolist())
    return Tokens(codes[points], lengths, tuple(names), 0)


def _cut(found: Tokens, longest: int, cut: int) -> Tokens:
    """Return the first tokens of each text, and the names of those alone."""
    lengths = found.lengths
    starts = np.cumsum(lengths) - lengths
    kept = np.arange(len(found.codes)) - np.repeat(starts, lengths) < longest
    used, first, places = np.unique(found.codes[kept], return_index=True, return_inverse=True)
    order = np.argsort(first)
    ranks = np.empty(len(order), np.int32)
    ranks[order] = np.arange(len(order))
    names = tuple(found.names[code] for code in used[order].tolist())
    return Tokens(ranks[places.reshape(-1)], np.minimum(lengths, longest), names, cut)


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


_BYTES = [chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in range(256)]
