"""Exported graphs, run by ONNX Runtime on random input and held against our own answers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.errors import ModelError
from scanline.interchange.onnx.graph import reads_pictures, states
from scanline.metrics.probabilities import softmax
from scanline.model.artifact import Model
from scanline.model.network import Network
from scanline.model.predictor import Predictor
from scanline.seeding import numpy_generator

LIMIT = 1e-4
_NUMBERS = 2**20  # values of a batch, so that models of wide steps and large pictures are checked in seconds
_MISSING = 0.15  # the share of values that is missing where some may be
# The errors of ONNX Runtime have nothing in common but where they are defined.
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(each for each in vars(_state).values() if isinstance(each, type) and issubclass(each, Exception)),
)

Floats = NDArray[np.float32]
Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Batch:
    """What a graph is given, and what our own network answers.

    feed: arrays by input name. logits: ours, (N, K). longest: how many steps its longest sequence has.
    about: what it is, for messages.
    """

    feed: Feed
    logits: Floats
    longest: int
    about: str


def run_on(content: bytes) -> Callable[[Feed], dict[str, NDArray[Any]]]:
    """The graph in `content` as a function, on one thread of the CPU.

    Raises ModelError, as does the function, with what ONNX Runtime says.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what is wrong is raised
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise ModelError(_refused(error)) from error
    names = [output.name for output in session.get_outputs()]

    def run(feed: Feed) -> dict[str, NDArray[Any]]:
        try:
            return dict(zip(names, session.run(names, feed), strict=True))
        except RUNTIME_ERRORS as error:
            raise ModelError(_refused(error)) from error

    return run


def _refused(error: Exception) -> str:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return f"ONNX Runtime {onnxruntime.__version__} cannot run the graph: {said}; nothing was written"


@dataclass
class Comparison:
    """Answers of a graph beside ours, as they come in.

    temperature: what our logits are divided by for the probabilities.
    """

    temperature: float
    difference: float = 0.0
    where: str = "none"
    batches: int = 0
    longest: int = 0
    _ours: list[Floats] = field(default_factory=list)
    _theirs: list[Floats] = field(default_factory=list)

    def add(self, answers: dict[str, NDArray[Any]], logits: Floats, steps: int, about: str) -> None:
        """answers: of the graph, by name. logits: ours, (N, K). steps: how many the longest sequence has.
        about: what was read, for messages."""
        self.batches += 1
        self.longest = max(self.longest, steps)
        self._ours.append(logits)
        self._theirs.append(answers["logits"])
        pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [(answers["logits"], logits)]
        if "probabilities" in answers:
            pairs.append((answers["probabilities"], softmax(logits / np.float32(self.temperature))))
        for theirs, ours in pairs:
            if theirs.shape != ours.shape:
                raise ModelError(
                    f"the ONNX graph answers with {theirs.shape} for {about}, expected {ours.shape}; "
                    "nothing was written"
                )
            with np.errstate(invalid="ignore"):  # inf - inf
                apart = float(np.abs(theirs.astype(np.float64) - ours).max())
            if not apart <= self.difference:
                self.difference, self.where = (apart if apart == apart else np.inf), about

    @property
    def same_class(self) -> bool:
        """Whether all answers are the same, save where the two largest logits are no further apart than the
        graph is from us."""
        ours, theirs = np.concatenate(self._ours), np.concatenate(self._theirs)
        if ours.shape[1] == 1:
            return True
        two = np.sort(ours.astype(np.float64), 1)[:, -2:]
        sure = two[:, 1] - two[:, 0] > self.difference
        return bool((ours.argmax(1) == theirs.argmax(1))[sure].all())

    def finish(self) -> dict[str, Any]:
        """What was found. Raises ModelError if the graph is not what it should be."""
        if not self.difference <= LIMIT:
            raise ModelError(
                f"the ONNX graph answers otherwise than Scanline: expected at most {LIMIT:g} between logits "
                f"and probabilities, found {self.difference:.2g} ({self.where}); nothing was written"
            )
        if not self.same_class:
            raise ModelError("the ONNX graph answers with another class than Scanline; nothing was written")
        return {
            "difference": self.difference,
            "batches": self.batches,
            "longest": self.longest,
            "same_class": True,
        }


def verify_whole(content: bytes, model: Model, seed: int = 0) -> dict[str, Any]:
    """`difference`, the largest of logits and probabilities, `batches`, how many of them were compared,
    `longest`, how many steps their longest sequence had, and `same_class`, of a whole graph.

    content: the graph, as it would be written. seed: of the random batches.
    Raises ModelError if it cannot be run, or answers otherwise than `model` does.
    """
    run, compared = run_on(content), Comparison(model.divisor)
    for batch in whole_batches(model, seed):
        compared.add(run(batch.feed), batch.logits, batch.longest, batch.about)
    return compared.finish()


def verify_step(content: bytes, model: Model, seed: int = 0) -> dict[str, Any]:
    """As `verify_whole`, of a step graph: after every step it has to answer as we do for the steps so far."""
    run, compared = run_on(content), Comparison(model.divisor)
    for batch in step_batches(model, seed):
        steps, kept = batch.feed["steps"], first_states(model, len(batch.feed["steps"]))
        for step in range(batch.longest):
            answers = run({"step": steps[:, step]} | kept)
            kept = {name: answers[f"new_{name}"] for name in kept}
            ours = batch.logits[step * len(steps) : (step + 1) * len(steps)]
            compared.add(answers, ours, step + 1, f"step {step + 1} of {batch.about}")
    return compared.finish()


def first_states(model: Model, N: int) -> Feed:
    """The states of N sequences of which no step was read, by name."""
    made = {}
    for name, state in states(model).items():
        shape = [N if size == "N" else size for size in state["shape"]]
        made[name] = np.full(shape, float(state["first"]), state["dtype"])
    return made


# --- what is read


def whole_batches(model: Model, seed: int) -> Iterator[Batch]:
    """Random batches: alone and in company, of one step and of many, with anything in the padding."""
    generator, form = numpy_generator(seed, "export"), model.preprocessing
    if reads_pictures(form):
        for N in (1, 2, 7):
            feed, part = draw_pictures(model, generator, N)
            logits = Predictor(model.network).outputs(part)
            yield Batch(feed, logits, part.max_length, f"{N} pictures")
        return
    settled = Settled(model, generator)

    def batch(N: int, T: int, ragged: bool = False) -> Batch:
        return settled.batch(lambda steps: draw_ragged(model, generator, N, steps, ragged), N, T)

    yield batch(1, 1)
    yield batch(6, 1)
    yield batch(4, picture_steps(form) or 28)
    yield batch(1, 500)
    yield batch(3, 200, ragged=True)
    for _ in range(7):
        yield batch(int(generator.integers(1, 17)), int(generator.integers(2, 65)), ragged=True)


def step_batches(model: Model, seed: int) -> Iterator[Batch]:
    """Random `steps` (N, T, F) for a step graph, with our T * N logits: those after one step come first."""
    generator, form = numpy_generator(seed, "export", 1), model.preprocessing
    settled = Settled(model, generator)

    def draw(N: int, T: int) -> tuple[Feed, MemorySource]:
        values = draw_steps(model, generator, (N, T, form.features))
        cut = [values[n, : step + 1] for step in range(T) for n in range(N)]
        part = MemorySource.from_list(cut, np.zeros(len(cut), np.int64), (), "the steps so far")
        return {"steps": values}, network_steps(form, part)

    for N, T in ((1, 1), (1, 48), (5, 17)):
        yield settled.batch(partial(draw, N), N, T)


class Settled:
    """Batches of which the answers are settled in float32.

    Some networks are chaotic where they read more, or something else, than they were trained on: the last bit
    of a weight moves the answers as far as one likes, and so does the order in which a program adds up.
    There no two programs answer alike and there is nothing to compare, so that fewer steps are read.
    """

    def __init__(self, model: Model, generator: np.random.Generator) -> None:
        self._model = model
        self._nudged = [_nudged(model.network, generator) for _ in range(2)]
        # Of a picture all steps are read, whatever comes of it.
        self._least = max(picture_steps(model.preprocessing), 4)

    def batch(self, draw: Callable[[int], tuple[Feed, MemorySource]], N: int, T: int) -> Batch:
        """What `draw` makes of a number of steps, T or as many of them as can be compared.

        N: how many sequences it has.
        """
        steps = max(min(T, _NUMBERS // (N * self._model.preprocessing.features)), min(T, 2))
        while True:
            feed, part = draw(steps)
            logits = Predictor(self._model.network).outputs(part)
            made = Batch(feed, logits, part.max_length, f"{N} sequences of up to {part.max_length} steps")
            if steps <= self._least:
                return made
            with np.errstate(invalid="ignore"):  # inf - inf
                moved = [np.abs(Predictor(each).outputs(part) - logits).max() for each in self._nudged]
            if max(moved) <= LIMIT / 20:
                return made
            steps = max(steps // 2, self._least)


def _nudged(network: Network, generator: np.random.Generator) -> Network:
    """A copy with each weight moved to one of the next float32 numbers."""
    made = copy.deepcopy(network)
    with torch.no_grad():
        for weight in made.parameters():
            up = torch.from_numpy(generator.random(tuple(weight.shape)) < 0.5).to(weight.device)
            weight.copy_(torch.nextafter(weight, torch.where(up, torch.inf, -torch.inf).to(weight.dtype)))
    return made


def draw_ragged(
    model: Model, generator: np.random.Generator, N: int, T: int, ragged: bool
) -> tuple[Feed, MemorySource]:
    """N sequences of up to T steps with garbage in the padding, all of T unless `ragged`; and what the
    network reads of them."""
    form = model.preprocessing
    lengths = generator.integers(1, T + 1, N) if ragged else np.full(N, T)
    lengths[generator.integers(N)] = T
    values = draw_steps(model, generator, (N, T, form.features))
    part = MemorySource.from_padded(values, lengths, np.zeros(N, np.int64), (), "random steps")
    padding = np.arange(T) >= lengths[:, None]
    garbage = np.array([np.nan, np.inf, -np.inf, 1e30, -7.5], np.float32)
    values[padding] = garbage[generator.integers(len(garbage), size=values[padding].shape)]
    return {"steps": values, "lengths": lengths}, network_steps(form, part)


def draw_pictures(model: Model, generator: np.random.Generator, N: int) -> tuple[Feed, MemorySource]:
    """N whole pictures, and what the network reads of them."""
    form = model.preprocessing
    assert form.picture is not None
    shape = (N, form.picture.height, form.picture.width * form.picture.channels)
    values = draw_steps(model, generator, shape)
    part = MemorySource.from_array(values, np.zeros(N, np.int64), (), "random pictures")
    return {"pictures": values}, form.prepare(part)


def draw_steps(model: Model, generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Random values in the range of real ones: of pictures whole grey levels, of others up to three times
    `scale` around `shift`. Some are NaN if the model takes missing values."""
    form = model.preprocessing
    if form.picture:
        values = generator.integers(0, form.picture.levels + 1, shape).astype(np.float32)
    else:
        shift, scale = (each.detach().cpu().numpy() for each in (model.network.shift, model.network.scale))
        values = (shift + scale * generator.uniform(-3, 3, shape)).astype(np.float32)
    if form.missing != "error":
        values[generator.random(shape) < _MISSING] = np.nan
    return values


def network_steps(form: Preprocessing, part: MemorySource) -> MemorySource:
    """Steps of the network's width as the network is given them: nothing is missing any more."""
    return replace(form, picture=None, source_features=form.features).prepare(part)


def picture_steps(form: Preprocessing) -> int:
    """How many steps of the network a picture has, 0 if it reads none."""
    p = form.picture
    return p.height * p.width * p.channels // form.features if p else 0
