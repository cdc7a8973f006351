"""Exported graphs, run by ONNX Runtime on random batches and compared with the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as _state
from scipy.special import expit

from scanline.errors import ModelError
from scanline.interchange.export import Verification
from scanline.interchange.onnx.batches import LIMIT, Feed, Floats, sequence_batches, step_batches
from scanline.interchange.onnx.ids import graph_inputs
from scanline.interchange.onnx.numbers import as_logits
from scanline.interchange.onnx.step_graph import states
from scanline.metrics.probabilities import softmax
from scanline.model.artifact import Model, TrainedModel
from scanline.tasks.multilabel import Multilabel
from scanline.tasks.regression import Regression

# The exceptions of ONNX Runtime have no common base class; they are all defined in one module.
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(each for each in vars(_state).values() if isinstance(each, type) and issubclass(each, Exception)),
)


def run_on(content: bytes) -> Callable[[Feed], dict[str, NDArray[Any]]]:
    """Return a serialised graph as a function from inputs to outputs, on one thread of the CPU.

    Raises:
        ModelError: If ONNX Runtime cannot load the graph; the function raises it if it cannot run it.
    """
    options = onnxruntime.SessionOptions()
    # One thread: the order of summation, and so the reported difference, is the same on every run.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise _cannot_run(error) from error
    names = [output.name for output in session.get_outputs()]

    def run(feed: Feed) -> dict[str, NDArray[Any]]:
        try:
            return dict(zip(names, session.run(names, feed), strict=True))
        except RUNTIME_ERRORS as error:
            raise _cannot_run(error) from error

    return run


def _cannot_run(error: Exception) -> ModelError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    version = onnxruntime.__version__
    return ModelError(f"ONNX Runtime {version} cannot run the graph: {reason}; nothing was written")


@dataclass
class Comparison:
    """Outputs of a graph compared with those of the model, batch by batch.

    Attributes:
        temperature: Number by which the model's logits are divided for the probabilities.
        several: Whether there may be several classes, so that probabilities are those of a logistic function.
        difference: The largest difference so far.
        where: The batch that had it.
        batches: Number of batches so far.
        longest: Number of steps of the longest sequence so far.
    """

    temperature: float
    several: bool = False
    difference: float = 0.0
    where: str = "none"
    batches: int = 0
    longest: int = 0
    _model_logits: list[Floats] = field(default_factory=list)
    _graph_logits: list[Floats] = field(default_factory=list)

    def add(self, outputs: dict[str, NDArray[Any]], logits: Floats, steps: int, description: str) -> None:
        """Compare one batch.

        Args:
            outputs: Outputs of the graph by name.
            logits: Logits of the model, (N, K).
            steps: Number of steps of the longest sequence.
            description: What the batch is, for messages.

        Raises:
            ModelError: If an output has another shape.
        """
        self.batches += 1
        self.longest = max(self.longest, steps)
        self._model_logits.append(logits)
        self._graph_logits.append(outputs["logits"])
        pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [(outputs["logits"], logits)]
        if "probabilities" in outputs:
            function = expit if self.several else softmax
            pairs.append((outputs["probabilities"], function(logits / np.float32(self.temperature))))
        for found, expected in pairs:
            if found.shape != expected.shape:
                raise ModelError(
                    where="the ONNX graph",
                    expected=f"an output of shape {expected.shape} for {description}",
                    found=found.shape,
                    remedy="nothing was written",
                )
            with np.errstate(invalid="ignore"):  # inf - inf
                apart = float(np.abs(found.astype(np.float64) - expected).max())
            if not apart <= self.difference:  # true for NaN, too
                self.difference, self.where = (apart if apart == apart else np.inf), description

    @property
    def same_class(self) -> bool:
        """Whether all classes are equal, where the two largest logits differ by more than the difference."""
        # All batches are kept: the margin is known only after the last one.
        model, graph = np.concatenate(self._model_logits), np.concatenate(self._graph_logits)
        if model.shape[1] == 1 or self.several:
            return True
        top_two = np.sort(model.astype(np.float64), 1)[:, -2:]
        decided = top_two[:, 1] - top_two[:, 0] > self.difference
        return bool((model.argmax(1) == graph.argmax(1))[decided].all())

    def finish(self) -> Verification:
        """Return the result.

        Raises:
            ModelError: If the difference is too large, or a class differs.
        """
        if not self.difference <= LIMIT:
            raise ModelError(
                "its outputs differ from Scanline's",
                where="the ONNX graph",
                expected=f"a difference of at most {LIMIT:g}",
                found=f"{self.difference:.2g} ({self.where})",
                remedy="nothing was written",
            )
        if not self.same_class:
            raise ModelError("the ONNX graph predicts another class than Scanline; nothing was written")
        return Verification(self.difference, self.batches, True, self.longest)


def verify_sequences(content: bytes, model: TrainedModel, seed: int = 0) -> Verification:
    """Compare a graph of whole sequences with the model.

    Args:
        content: The serialised graph.
        model: The model.
        seed: Seed of the random batches.

    Raises:
        ModelError: If the graph cannot be run, or its outputs differ from the model's.
    """
    run, comparison = run_on(content), Comparison(model.divisor, isinstance(model.task, Multilabel))
    for batch in sequence_batches(model, seed):
        outputs = run(batch.feed)
        if model.task.per_step:  # the rows of all steps, as the model returns them
            shape, wanted = next(iter(outputs.values())).shape, 2 if model.task.predicts_numbers() else 3
            if len(shape) != wanted:
                expected = "(N, T, K)" if wanted == 3 else "(N, T)"
                raise ModelError(f"the ONNX graph: expected outputs of shape {expected}, found {shape}")
            real = np.arange(shape[1]) < batch.feed["lengths"][:, None]
            outputs = {name: output[real] for name, output in outputs.items()}
        outputs = _with_logits(outputs, model, batch.logits)
        comparison.add(outputs, batch.logits, batch.longest, batch.description)
    return comparison.finish()


def _with_logits(
    outputs: dict[str, NDArray[Any]], model: TrainedModel, expected: Floats
) -> dict[str, NDArray[Any]]:
    """Return outputs with "logits": of a regression in deviations of the training targets, any unit alike."""
    if not isinstance(model.task, Regression):
        return outputs
    return outputs | {"logits": as_logits(outputs, model.task, expected)}


def verify_steps(content: bytes, model: Model, seed: int = 0) -> Verification:
    """Compare a step graph, after every step, with the model on the steps so far; see `verify_sequences`."""
    run, comparison = run_on(content), Comparison(model.divisor, isinstance(model.task, Multilabel))
    for batch in step_batches(model, seed):
        steps = batch.feed["steps"]
        # The graph gets its own states back, as in use, so that errors accumulate as they would in a stream.
        current = first_states(model, len(steps))
        for step in range(batch.longest):
            outputs = run(graph_inputs(model, "step", steps[:, step]) | current)
            current = {name: outputs[f"new_{name}"] for name in current}
            logits = batch.logits[step * len(steps) : (step + 1) * len(steps)]
            outputs = _with_logits(outputs, model, logits)
            comparison.add(outputs, logits, step + 1, f"step {step + 1} of {batch.description}")
    return comparison.finish()


def first_states(model: Model, N: int) -> Feed:
    """Return the states of N sequences before their first step, by name."""
    made = {}
    for name, state in states(model).items():
        shape = [N if size == "N" else int(size) for size in state.shape]
        made[name] = np.full(shape, float(state.first), state.dtype)
    return made
