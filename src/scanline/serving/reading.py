"""Bytes of a request into sequences that the model can read, or a problem that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json

from scanline.data.transforms.framing import fit_picture
from scanline.data.transforms.ink import PictureFormat
from scanline.errors import DataError
from scanline.explanation.what_if import Clamp, Silence, WhatIf
from scanline.formats.images import decode_pixels
from scanline.model.artifact import Model
from scanline.serving.limits import Limits
from scanline.serving.problems import Problem
from scanline.serving.schema import PredictWish, WhatIfWish

_MOST_FAULTS = 10
_LONGEST_KEY = 100  # of what was sent, in a pointer to it


@dataclass(frozen=True, eq=False)
class Wish:
    """What a request asks for.

    sequences: N arrays (T_i, F) float32, of a picture its rows, as the input form takes them. seen: whether
    to tell what the network read. trace: whether to tell all that happened. what_if: what to change inside.
    """

    sequences: tuple[NDArray[np.float32], ...]
    seen: bool = False
    trace: bool = False
    what_if: WhatIf | None = None

    @property
    def size(self) -> int:
        """How many values there are."""
        return sum(each.size for each in self.sequences)

    @property
    def plain(self) -> bool:
        """Whether nothing but answers is wanted."""
        return not (self.seen or self.trace or self.what_if)


class Reader:
    """Reads requests for one model."""

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model, self.limits = model, limits
        self._form = model.preprocessing
        self._picture = self._form.picture

    def json(self, body: bytes) -> Wish:
        """A request as JSON. Raises Problem: malformed, too-large, wrong-values."""
        try:
            sent = from_json(body, allow_inf_nan=False, cache_strings="keys")
        except ValueError as error:
            raise Problem("malformed", f"expected JSON: {error}") from None
        try:
            wish = PredictWish.model_validate(sent)
        except ValidationError as error:
            raise faults(error) from None
        if len(wish.inputs) > self.limits.sequences:
            raise Problem(
                "too-large",
                f"expected at most {self.limits.sequences:,} inputs, found {len(wish.inputs):,}",
                (("/inputs", "too many"),),
            )
        if self._picture is None:
            wrong = {"full_scale": wish.full_scale is not None, "fit": wish.fit}
            if any(wrong.values()):
                names = [name for name, is_set in wrong.items() if is_set]
                raise Problem(
                    "wrong-values",
                    f"{' and '.join(names)}: this model reads no pictures",
                    tuple((f"/{name}", "for pictures only") for name in names),
                )
        elif wish.lengths is not None:
            raise Problem(
                "wrong-values", "lengths: pictures have none", (("/lengths", "for sequences only"),)
            )
        # More than numbers, null and the request's own keys: what NumPy would read in its own way.
        odd = b"true" in body or b"false" in body or body.count(b'"') > 2 * len(sent)
        sequences = self._sequences(wish, odd)
        return self._bounded(Wish(sequences, wish.fit or wish.trace, wish.trace, _what_if(wish.what_if)))

    def pictures(self, files: Sequence[tuple[str, bytes]], trace: bool) -> Wish:
        """Picture files, fitted. files: (name, content). Raises Problem: wrong-values, too-large."""
        form = self._picture
        if form is None:
            raise Problem("wrong-type", "this model reads sequences, not pictures: send application/json")
        if not 1 <= len(files) <= self.limits.sequences:
            name = "too-large" if files else "wrong-values"
            raise Problem(name, f"expected 1 to {self.limits.sequences:,} pictures, found {len(files):,}")
        sequences, faults = [], []
        for name, content in files:
            try:
                pixels = decode_pixels(content, name, form.channels == 3, self.limits.pixels)
                sequences.append(fit_picture(pixels, form, name).astype(np.float32))
            except DataError as error:
                faults.append((name, str(error)))
        if faults:
            raise Problem("wrong-values", faults[0][1], tuple(faults[:_MOST_FAULTS]) if faults[1:] else ())
        return self._bounded(Wish(tuple(sequences), seen=True, trace=trace))

    def steps(self, given: Any) -> NDArray[np.float32]:
        """Steps of a stream, (t, F), as the network reads them; null is NaN. Raises Problem: wrong-values."""
        features = self._form.features
        if features == 1 and isinstance(given, list) and not any(isinstance(step, list) for step in given):
            given = [[step] for step in given]
        try:
            values = _numbers(given, odd=True)
        except ValueError as error:
            raise Problem("wrong-values", f"steps: {error}", (("/steps", str(error)),)) from None
        if values.ndim != 2 or values.shape[1] != features or len(values) > self.limits.steps:
            wanted = f"(t, {features}), t at most {self.limits.steps:,}"
            raise Problem("wrong-values", f"steps: expected shape {wanted}, found {values.shape}")
        return _narrowed(values)

    def _bounded(self, wish: Wish) -> Wish:
        """Raises Problem if traces of all of it would be too much."""
        if not (wish.trace or wish.what_if):
            return wish
        a = self.model.network.architecture
        steps = sum(each.size // self._form.features for each in wish.sequences)
        numbers = steps * a.layers * (2 if a.bidirectional else 1) * a.hidden_size * 6
        if steps > self.limits.traced_steps or numbers > self.limits.traced_numbers:
            raise Problem(
                "too-large",
                f"expected at most {self.limits.traced_steps:,} steps and {self.limits.traced_numbers:,} "
                f"numbers to trace, found {steps:,} and {numbers:,}; ask for fewer sequences at a time",
            )
        return wish

    def _sequences(self, wish: PredictWish, odd: bool) -> tuple[NDArray[np.float32], ...]:
        lengths = wish.lengths
        if lengths is not None and len(lengths) != len(wish.inputs):
            detail = f"expected {len(wish.inputs)} of them, found {len(lengths)}"
            raise Problem("wrong-values", f"lengths: {detail}", (("/lengths", detail),))
        found, faults = [], []
        for index, given in enumerate(wish.inputs):
            try:
                values = _numbers(given, odd)
                if self._picture is not None:
                    found.append(self._as_picture(values, wish, self._picture, index))
                else:
                    found.append(self._as_steps(values, None if lengths is None else lengths[index]))
            except (DataError, ValueError) as error:
                faults.append((index, str(error)))
                if len(faults) == _MOST_FAULTS:
                    break
        if faults:
            first, detail = faults[0]
            named = tuple((f"/inputs/{index}", text) for index, text in faults)
            raise Problem("wrong-values", f"inputs[{first}]: {detail}", named)
        return tuple(found)

    def _as_steps(self, values: NDArray[Any], length: int | None) -> NDArray[np.float32]:
        form = self._form
        if values.ndim == 1 and form.source_features == 1:
            values = values[:, None]
        widths = sorted({form.source_features, form.features})
        if values.ndim != 2 or values.shape[1] not in widths or len(values) == 0:
            raise DataError(f"expected shape (steps, {' or '.join(map(str, widths))}), found {values.shape}")
        if length is not None:
            if length > len(values):
                raise DataError(f"expected a length of at most {len(values):,}, found {length:,}")
            values = values[:length]
        if len(values) > self.limits.steps:
            raise Problem(
                "too-large", f"expected at most {self.limits.steps:,} steps a sequence, found {len(values):,}"
            )
        missing = int(np.isnan(values).sum())
        if missing and form.missing == "error":
            raise DataError(
                f"expected numbers, found {missing:,} null; the model was trained with --missing error"
            )
        return _narrowed(values)

    def _as_picture(
        self, values: NDArray[Any], wish: PredictWish, form: PictureFormat, index: int
    ) -> NDArray[np.float32]:
        deep = form.channels == 3
        fits = values.ndim == (3 if deep else 2) and 0 not in values.shape and values.shape[2:] in ((), (3,))
        if not fits or (not wish.fit and values.shape[:2] != (form.height, form.width)):
            size = ("height, width" if wish.fit else f"{form.height}, {form.width}") + (", 3" if deep else "")
            raise DataError(f"expected shape ({size}), found {values.shape}")
        full = form.levels if wish.full_scale is None else wish.full_scale
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= full):  # also where it is NaN
            raise DataError(f"expected numbers of 0 to {full:g}, found {low:g} to {high:g}")
        if not wish.fit:
            scaled = values if full == form.levels else values / full * form.levels
            return scaled.reshape(form.height, -1).astype(np.float32)
        if values.shape[0] * values.shape[1] > self.limits.pixels:
            raise Problem(
                "too-large", f"expected at most {self.limits.pixels:,} pixels, found {values.shape}"
            )
        pixels = np.rint(values / full * 255).astype(np.uint8).reshape(*values.shape[:2], -1)
        return fit_picture(pixels, form, f"picture {index}").astype(np.float32)


def _numbers(given: Any, odd: bool) -> NDArray[Any]:
    """Nested lists of numbers as an array; null becomes NaN. Raises ValueError for anything else.

    odd: whether there may be text or flags among them. NumPy would take a flag for a number, and as much
    memory for each number as for the longest text.
    """
    if odd and (found := _odd(given)) is not None:
        raise ValueError(f"expected numbers, found {found}")
    try:
        array = np.asarray(given)
    except (ValueError, OverflowError):
        raise ValueError("expected lists of equal length, found different ones") from None
    if array.dtype.kind != "O":
        return array
    # null, an object without keys, or a whole number of more than 64 bits
    if (found := _odd(array.tolist())) is not None:
        raise ValueError(f"expected numbers, found {found}")
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError("expected numbers that float32 can hold, found larger ones") from None


def _odd(given: Any) -> str | None:
    """What there is, in nested lists, beside numbers and null."""
    if isinstance(given, list):
        return next((found for found in map(_odd, given) if found is not None), None)
    if given is None or type(given) in (int, float):
        return None
    return {str: "text", bool: "true or false", dict: "an object"}[type(given)]


def _narrowed(values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if np.isinf(narrow).any():
        raise DataError("expected numbers that float32 can hold, found larger ones")
    return narrow


def _what_if(wish: WhatIfWish | None) -> WhatIf | None:
    if wish is None or not (wish.blank or wish.clamp or wish.silence):
        return None
    return WhatIf(
        tuple(wish.blank),
        tuple(Clamp(each.gate, each.value, each.layer, each.direction) for each in wish.clamp),
        tuple(Silence(each.unit, each.layer, each.direction) for each in wish.silence),
    )


def faults(error: ValidationError) -> Problem:
    """All that Pydantic found, each with its pointer."""
    found = []
    for each in error.errors(include_url=False, include_input=False)[:_MOST_FAULTS]:
        parts = (str(part)[:_LONGEST_KEY].replace("~", "~0").replace("/", "~1") for part in each["loc"])
        pointer = "".join(f"/{part}" for part in parts)
        found.append((pointer, each["msg"]))
    pointer, text = found[0]
    return Problem("wrong-values", f"{pointer[1:].replace('/', '.') or 'the body'}: {text}", tuple(found))
