"""Validates what clients send, and converts it to arrays that the model can read.

No other module does this. A request passes its Pydantic model in `schema.py`, then the checks against
the model and the limits, and becomes a `Request` of float32 arrays. Everything that is wrong is a `Problem`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from scanline import cells
from scanline.data.given_steps import StepCoder
from scanline.data.memory import MemorySource
from scanline.data.padding import without_padding
from scanline.data.picture_format import PictureFormat
from scanline.data.readers.recordings import at_rate
from scanline.data.static_features import check_static
from scanline.data.transforms.framing import fit_picture
from scanline.errors import DataError, UsageError
from scanline.explanation.what_if import Clamp, Silence, WhatIf
from scanline.formats.images import decode_pixels
from scanline.formats.text import BYTE_ORDER_MARK
from scanline.formats.wav import decode_wav
from scanline.model.artifact import TrainedModel
from scanline.serving.limits import Limits
from scanline.serving.numbers import narrow, to_numbers
from scanline.serving.problems import MAX_FAULTS, Problem, validation_problem
from scanline.serving.schema import PredictRequest, StreamRequest, WhatIfRequest

Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class Request:
    """A valid request for predictions.

    Attributes:
        sequences: N arrays (T_i, F) float32, not preprocessed; of an image its rows.
        show_input: Whether to return what the network read.
        trace: Whether to return probabilities, gates and states at every step.
        what_if: Changes inside the network, or None.
        attribution: Whether to return how much each value contributed.
        given: For a model with categories the rows of cells of each sequence, whose codes are in `sequences`.
    """

    sequences: tuple[NDArray[np.float32], ...]
    show_input: bool = False
    trace: bool = False
    what_if: WhatIf | None = None
    attribution: bool = False
    given: tuple[list[list[Any]], ...] = ()

    @property
    def size(self) -> int:
        """Number of values in all sequences."""
        return sum(each.size for each in self.sequences)

    @property
    def is_plain(self) -> bool:
        """Whether only predictions are requested, so that it can be part of a batch."""
        return not (self.show_input or self.trace or self.what_if or self.attribution)


class RequestParser:
    """Parses the requests for one model. Keeps no state, so that several threads may use it.

    Args:
        model: The model, which says what shapes are expected.
        limits: Bounds on the sizes.
    """

    def __init__(self, model: TrainedModel, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self._preprocessing = model.preprocessing
        self._picture = self._preprocessing.picture
        self._coder = coder_of(model)
        # Of an ensemble: its own preprocessing leaves the steps to its members.
        first = model.models[0].preprocessing
        self._step_count = first.step_count
        # The samples of a recording become fewer steps, and windows that overlap read steps again.
        self._counts_steps = bool(self._preprocessing.sample_rate) or first.windows is not None

    def parse_json(self, body: bytes) -> Request:
        """Return the request of a JSON body.

        Raises:
            Problem: `malformed`, `too-large` or `wrong-values`.
        """
        content = _parse(body)
        given = _validate(PredictRequest, content)
        self._check_options(given)
        # NumPy reads text and booleans in its own way. JSON that has no more strings than its keys, and
        # neither literal, has none of them: only other JSON is searched for them, which takes longer than all
        # the rest.
        suspicious = b"true" in body or b"false" in body or body.count(b'"') > 2 * len(content)
        rows: list[list[list[Any]]] = []
        sequences = self._sequences(given, suspicious, rows)
        what_if, show = _what_if(given.what_if), given.fit or given.trace
        made = Request(sequences, show, given.trace, what_if, given.attribution, tuple(rows))
        return self._check_trace(made)

    def parse_files(self, files: Sequence[tuple[str, bytes]], trace: bool) -> Request:
        """Return the request for image files, which are fitted to the training images, or for WAV files.

        Args:
            files: (name, content) of each.
            trace: As in `Request`.

        Raises:
            Problem: `wrong-type`, `too-large` or `wrong-values`.
        """
        what = "images" if self._picture is not None else "recordings"
        if self._picture is None and not self._preprocessing.sample_rate:
            raise Problem("wrong-type", "this model reads sequences, not images: send application/json")
        if not 1 <= len(files) <= self._limits.sequences:
            name = "too-large" if files else "wrong-values"
            raise Problem(name, f"expected 1 to {self._limits.sequences:,} {what}, found {len(files):,}")
        sequences, faults = [], []
        for name, content in files:
            try:
                read = self._read_recording if self._picture is None else self._read_image
                sequences.append(read(name, content))
            except DataError as error:
                faults.append((name, str(error)))
        if faults:
            raise Problem("wrong-values", faults[0][1], faults[:MAX_FAULTS] if faults[1:] else ())
        return self._check_trace(Request(tuple(sequences), show_input=True, trace=trace))

    def _read_image(self, name: str, content: bytes) -> NDArray[np.float32]:
        picture = self._picture
        assert picture is not None
        white = self._preprocessing.settings.white
        pixels = decode_pixels(content, name, picture.channels == 3, self._limits.pixels, white)
        return fit_picture(pixels, picture, name).astype(np.float32)

    def _read_recording(self, name: str, content: bytes) -> NDArray[np.float32]:
        preprocessing = self._preprocessing
        settings = preprocessing.settings
        samples = at_rate(decode_wav(content, name), settings.sample_rate, settings.resample, name)
        self._check_length(len(samples), 1)
        return samples[:, None]

    def _check_length(self, length: int, width: int) -> None:
        """Raise Problem if the network would read too many steps of a sequence of this shape."""
        steps = self._step_count(length, width) if self._counts_steps else length
        if steps > self._limits.steps:
            raise Problem(
                "too-large", f"expected at most {self._limits.steps:,} steps a sequence, found {steps:,}"
            )

    def parse_message(self, text: str) -> StreamRequest:
        """Return a message of a stream.

        Raises:
            Problem: `malformed` or `wrong-values`.
        """
        message = _validate(StreamRequest, _parse(text))
        given = [name for name in message.model_fields_set if getattr(message, name) is not None]
        if len(message.model_fields_set) != 1 or not given:
            raise Problem("wrong-values", "expected one of steps, text, save, resume, reset in a message")
        if message.text is not None and (self._coder is None or not self._coder.reads_text):
            detail = "text: expected steps, as this model reads no texts"
            raise Problem("wrong-values", detail, [("/text", "for models of texts only")])
        return message

    def parse_cells(self, message: StreamRequest) -> list[list[Any]]:
        """Return the steps of a message of a stream as rows of cells, for a model with categories.

        Raises:
            Problem: `wrong-values`.
        """
        assert self._coder is not None
        name = "text" if message.steps is None else "steps"
        try:
            rows = self._coder.cells(message.text if message.steps is None else message.steps)
        except DataError as error:
            raise Problem("wrong-values", f"{name}: {error}", [(f"/{name}", str(error))]) from None
        if len(rows) > self._limits.steps:
            detail = f"{name}: expected at most {self._limits.steps:,} steps, found {len(rows):,}"
            raise Problem("wrong-values", detail)
        return rows

    def parse_steps(self, content: list[Any]) -> NDArray[np.float32]:
        """Return steps of a stream as (t, F), with NaN for null.

        Raises:
            Problem: `wrong-values`.
        """
        features = self._preprocessing.features
        if features == 1 and not any(isinstance(step, list) for step in content):
            content = [[step] for step in content]
        try:
            values = to_numbers(content, suspicious=True)
        except ValueError as error:
            raise Problem("wrong-values", f"steps: {error}", [("/steps", str(error))]) from None
        if values.ndim != 2 or values.shape[1] != features or len(values) > self._limits.steps:
            expected = f"(t, {features}), t at most {self._limits.steps:,}"
            raise Problem("wrong-values", f"steps: expected shape {expected}, found {values.shape}")
        return narrow(values)

    def _check_options(self, given: PredictRequest) -> None:
        """Check what can be checked before the inputs are converted."""
        count = len(given.inputs)
        if count > self._limits.sequences:
            detail = f"expected at most {self._limits.sequences:,} inputs, found {count:,}"
            raise Problem("too-large", detail, [("/inputs", "too many")])
        if self._picture is None:
            names = [name for name in ("full_scale", "fit") if getattr(given, name)]
            if names:
                detail = f"{' and '.join(names)}: this model does not read images"
                raise Problem("wrong-values", detail, [(f"/{name}", "for images only") for name in names])
        elif given.lengths is not None:
            detail = "lengths: expected none, as this model reads images"
            raise Problem("wrong-values", detail, [("/lengths", "for sequences only")])
        if given.lengths is not None and len(given.lengths) != count:
            detail = f"expected {count} of them, found {len(given.lengths)}"
            raise Problem("wrong-values", f"lengths: {detail}", [("/lengths", detail)])

    def _check_trace(self, request: Request) -> Request:
        """Return `request` if it may be traced, and its what-ifs fit the network."""
        if not (request.trace or request.what_if or request.attribution):
            return request
        if request.attribution and self._model.task.per_step:
            detail = f"attribution: the task {self._model.task.name} has a prediction for each step"
            raise Problem("wrong-values", detail, [("/attribution", "for one prediction only")])
        try:
            model = self._model.one_network("a trace")
        except UsageError as error:
            raise Problem("wrong-values", str(error), [("/trace", "not of an ensemble")]) from None
        architecture, windows = model.network.architecture, model.preprocessing.windows
        lengths = [self._step_count(*each.shape) for each in request.sequences]
        for length in lengths if windows is not None else ():
            assert windows is not None
            try:
                windows.require_one(length, "a trace")
            except UsageError as error:
                raise Problem("wrong-values", str(error), [("/trace", "not of several windows")]) from None
        parts = len(cells.get(architecture.cell).traced)
        directions = architecture.layers * (2 if architecture.bidirectional else 1)
        steps = sum(lengths)
        # Size of the response, computed before the trace is: every traced part is (steps, hidden size) in
        # each layer and direction.
        numbers = steps * directions * architecture.hidden_size * parts
        if steps > self._limits.traced_steps or numbers > self._limits.traced_numbers:
            raise Problem(
                "too-large",
                f"expected at most {self._limits.traced_steps:,} steps and {self._limits.traced_numbers:,} "
                f"numbers to trace, found {steps:,} and {numbers:,}; ask for fewer sequences at a time",
            )
        for length in lengths if request.what_if is not None else ():
            assert request.what_if is not None
            faults = request.what_if.faults(architecture, length)
            if faults:
                raise Problem("wrong-values", faults[0], [(_pointer(each), each) for each in faults])
        return request

    def _sequences(
        self, given: PredictRequest, suspicious: bool, rows: list[list[list[Any]]]
    ) -> tuple[NDArray[np.float32], ...]:
        """Convert all inputs; all faults are reported at once, up to a bound.

        Args:
            given: The request.
            suspicious: As for `to_numbers`.
            rows: Gets the cells of each sequence, of a model with categories.
        """
        sequences, faults = [], []
        for index, content in enumerate(given.inputs):
            try:
                if self._coder is not None:
                    length = None if given.lengths is None else given.lengths[index]
                    sequences.append(self._named_steps(self._coder, content, length, rows))
                    continue
                values = to_numbers(content, suspicious)
                if self._picture is not None:
                    sequences.append(self._picture_rows(values, given, self._picture, index))
                else:
                    length = None if given.lengths is None else given.lengths[index]
                    sequences.append(self._steps(values, length))
            except (DataError, ValueError) as error:
                faults.append((index, str(error)))
                # Stop early: a hostile request could otherwise make one message for each of its inputs.
                if len(faults) == MAX_FAULTS:
                    break
        if faults:
            first, detail = faults[0]
            pointers = [(f"/inputs/{index}", text) for index, text in faults]
            raise Problem("wrong-values", f"inputs[{first}]: {detail}", pointers)
        return tuple(sequences)

    def _steps(self, values: NDArray[Any], length: int | None) -> NDArray[np.float32]:
        """Return one sequence as (T, F)."""
        preprocessing = self._preprocessing
        if values.ndim == 1 and preprocessing.source_features == 1:
            values = values[:, None]
        # Steps are accepted as the source has them, or as the network reads them after preprocessing.
        widths = sorted({preprocessing.source_features, preprocessing.features})
        if values.ndim != 2 or values.shape[1] not in widths or len(values) == 0:
            raise DataError(f"expected shape (steps, {' or '.join(map(str, widths))}), found {values.shape}")
        if length is not None:
            if length > len(values):
                raise DataError(f"expected a length of at most {len(values):,}, found {length:,}")
            values = values[:length]
        self._check_length(*values.shape)
        values = self._without_padding(values)
        missing = int(np.isnan(values).sum())
        if missing and preprocessing.missing == "error":
            raise DataError(
                f"expected numbers, found {missing:,} null; the model was trained with input.missing=error"
            )
        # Here, as a fault must not reach the other requests of a batch.
        check_static(_one_source(values), preprocessing.static)
        return narrow(values)

    def _named_steps(
        self, coder: StepCoder, content: Any, length: int | None, rows: list[list[list[Any]]]
    ) -> NDArray[np.float32]:
        """Return one sequence with names of categories in codes, (T, F), and add its cells to `rows`."""
        cells = coder.cells(content)
        if length is not None:
            if length > len(cells):
                raise DataError(f"expected a length of at most {len(cells):,}, found {length:,}")
            cells = cells[:length]
        self._check_length(len(cells), 1)
        values = narrow(coder.encode(cells))
        missing = int(np.isnan(values).sum())
        if missing and self._preprocessing.missing == "error":
            raise DataError(
                f"expected numbers, found {missing:,} null; the model was trained with input.missing=error"
            )
        # Here, as a fault must not reach the other requests of a batch.
        check_static(coder.source([values]), self._preprocessing.static)
        rows.append(cells)
        return values

    def _without_padding(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return steps (T, F) without the padding at their end, as `Model.predict` reads them."""
        pad_value, source = self._preprocessing.settings.pad_value, _one_source(values)
        try:
            return values[: without_padding(source, pad_value).lengths[0]]
        except DataError:
            raise DataError(f"expected values before the padding {pad_value}, found none") from None

    def _picture_rows(
        self, values: NDArray[Any], given: PredictRequest, picture: PictureFormat, index: int
    ) -> NDArray[np.float32]:
        """Return one image as (height, width x channels), 0 to `picture.levels`."""
        colours = picture.channels == 3
        # `colours` is 0 or 1: (height, width) for grey images, (height, width, 3) for colour images.
        valid = values.ndim == 2 + colours and 0 not in values.shape and values.shape[2:] in ((), (3,))
        if not valid or (not given.fit and values.shape[:2] != (picture.height, picture.width)):
            size = "height, width" if given.fit else f"{picture.height}, {picture.width}"
            raise DataError(f"expected shape ({size}{', 3' if colours else ''}), found {values.shape}")
        full = picture.levels if given.full_scale is None else given.full_scale
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= full):  # also true of NaN
            raise DataError(f"expected numbers of 0 to {full:g}, found {low:g} to {high:g}")
        if not given.fit:
            scaled = values if full == picture.levels else values / full * picture.levels
            return scaled.reshape(picture.height, -1).astype(np.float32)
        if values.shape[0] * values.shape[1] > self._limits.pixels:
            raise Problem(
                "too-large", f"expected at most {self._limits.pixels:,} pixels, found {values.shape}"
            )
        # `fit_picture` works on 8-bit images, as uploads decode to; (height, width, channels).
        pixels = np.rint(values / full * 255).astype(np.uint8).reshape(*values.shape[:2], -1)
        return fit_picture(pixels, picture, f"image {index}").astype(np.float32)


def _one_source(values: NDArray[Any]) -> MemorySource:
    return MemorySource.from_list([narrow(values)], np.zeros(1, np.int64), (), "the input")


def coder_of(model: TrainedModel) -> StepCoder | None:
    """Return what codes the steps of a model with categories or static columns; None for other models."""
    forms = [each.preprocessing for each in model.models]
    return StepCoder(forms) if any(form.vocabularies or form.static for form in forms) else None


def decode_session(text: str) -> bytes:
    """Return the bytes of a saved session.

    Raises:
        Problem: `wrong-values`.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem("wrong-values", "resume: expected base64", [("/resume", "not base64")]) from None


def _parse(content: bytes | str) -> Any:
    # RFC 8259 lets a parser ignore a byte-order mark, and files that are sent as they are may begin with one.
    text = (
        content.removeprefix(BYTE_ORDER_MARK)
        if isinstance(content, str)
        else content.removeprefix(BYTE_ORDER_MARK.encode())
    )
    try:
        # `cache_strings="keys"` keeps values out of the process-wide cache: clients choose them freely.
        return from_json(text, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise Problem("malformed", f"expected JSON: {error}") from None


def _validate(schema: type[Schema], content: Any) -> Schema:
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise validation_problem(error) from None


def _what_if(given: WhatIfRequest | None) -> WhatIf | None:
    if given is None or not (given.blank or given.clamp or given.silence):
        return None
    return WhatIf(
        tuple(given.blank),
        tuple(Clamp(each.gate, each.value, each.layer, each.direction) for each in given.clamp),
        tuple(Silence(each.unit, each.layer, each.direction) for each in given.silence),
    )


def _pointer(fault: str) -> str:
    """Return the JSON pointer of a fault such as "what_if.clamp[0].gate must be ..."."""
    return "/" + re.sub(r"[.\[]", "/", fault.partition(" ")[0]).replace("]", "")
