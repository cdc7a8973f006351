"""Write a model as a Keras 3 file, for use with TensorFlow, JAX or PyTorch."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline import cells
from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.errors import MissingExtraError, ModelError, ScanlineError, UsageError
from scanline.interchange.export import Export, Verification, check_exportable
from scanline.interchange.keras.layers import POOLING_LAYERS
from scanline.metrics.probabilities import softmax
from scanline.model.artifact import Model
from scanline.model.network import Network
from scanline.model.predictor import Predictor
from scanline.seeding import numpy_generator
from scanline.storage.atomic import write_atomic

LIMIT = 1e-4
_MAX_VALUES = 2**20  # of a batch, so that models with wide steps or large pictures are checked in seconds
# Keras does not divide by a deviation below 1e-7, and stores variances, which float32 can hold for these.
_DEVIATIONS = (1e-6, 1e18)
# Raised by Keras for a model that it cannot build, save or load.
_KERAS_ERRORS = (ValueError, TypeError, RuntimeError)


def export_keras(model: Model, target: str | Path, *, probabilities: bool = True, seed: int = 0) -> Export:
    """Write a model, with its preprocessing, to the file `target`, NAME.keras.

    The input is float32 (batch, steps, F), before shift and scale (of a picture's row the levels); batch and
    steps are free. A model of pictures with another view than rows takes whole pictures, (batch, height,
    width x channels). All sequences of a batch have the same number of steps: Keras' Masking recognises
    padding by a value, and here no value means padding. The output is (batch, K): probabilities, calibrated
    if `model` is, or logits, divided by the temperature likewise.

    Keras writes the file with the backend that it has. The file is loaded again in safe mode and compared
    with the model on random batches of several sizes and lengths.

    Args:
        model: The model.
        target: The file.
        probabilities: Whether the output is probabilities instead of logits.
        seed: Seed of the random batches.

    Returns:
        The result. Differences of logits beyond 1 are relative to them.

    Raises:
        UsageError: If Keras is not installed, or has no equivalent of the model.
        ModelError: If the file's outputs differ from the model's. Nothing is written then.
    """
    path = Path(target)
    if path.suffix.lower() != ".keras":
        raise UsageError(f"a Keras model is written to a file NAME.keras, got {path}")
    check_exportable(model, "keras", "Keras")
    _check(model.preprocessing)
    if model.network.pooling.reads_outputs and model.network.pooling.name not in POOLING_LAYERS:
        raise UsageError(
            f"this model has the readout {model.network.pooling.name}, for which Keras has no layer: export "
            "it as .onnx"
        )
    keras = _keras()
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.keras"
        try:
            # A temporary folder keeps a file that is not verified yet away from the target.
            _build(keras, model, probabilities).save(written)
            loaded = keras.saving.load_model(written, compile=False, safe_mode=True)
        except OSError as error:
            raise ScanlineError(f"cannot write {written}: {error.strerror or error}") from error
        except _KERAS_ERRORS as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"Keras {keras.__version__} cannot store this model: {reason}; nothing was written; update "
                "Keras"
            ) from error
        verification = _verify(keras, loaded, model, probabilities, seed)
        # The target appears only after the comparison: no file with wrong outputs is ever left behind.
        write_atomic(path, written.read_bytes())
    return Export(str(target), "keras", None, verification, tuple(model.class_names))


def _check(form: Preprocessing) -> None:
    """Check that Keras has layers for the preprocessing."""
    if form.missing != "error":
        raise UsageError(
            f"this model fills missing values (input.missing {form.missing}), for which Keras has no layer: "
            "export it as .onnx, or train with input.missing=error"
        )
    if form.view == "permuted":
        raise UsageError(
            "this model reads pixels in a random order (input.view permuted), for which Keras has no "
            "layer: export it as .onnx"
        )


def _keras() -> Any:
    """Import Keras, with the backend that is set, or with torch if Keras would not find its default."""
    # Keras reads KERAS_BACKEND once, on import; the variable is removed again below.
    set_here = "keras" not in sys.modules and "KERAS_BACKEND" not in os.environ and _has_no_backend()
    if set_here:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        import h5py  # noqa: F401  # Keras imports it only when it saves
        import keras
    except (ImportError, ValueError) as error:  # ValueError: an unknown backend
        if isinstance(error, ImportError) and error.name in ("keras", "h5py"):
            raise MissingExtraError("writing a Keras model", [error.name], "keras") from None
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"Keras cannot start ({reason}): install its backend, or set KERAS_BACKEND=torch"
        ) from error
    finally:
        if set_here:
            del os.environ["KERAS_BACKEND"]
    return keras


def _has_no_backend() -> bool:
    """Return whether Keras would use TensorFlow, its default, and it is not installed."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        wanted = json.loads((home / "keras.json").read_text()).get("backend", "tensorflow")
    except (OSError, ValueError, AttributeError):
        wanted = "tensorflow"
    return bool(wanted == "tensorflow" and find_spec("tensorflow") is None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide a warning that Keras with torch causes in its own code."""
    with warnings.catch_warnings():
        message = "__array__ implementation doesn't accept a copy keyword"
        warnings.filterwarnings("ignore", message, DeprecationWarning)
        yield


# --- the network as Keras layers


def _build(keras: Any, model: Model, probabilities: bool) -> Any:
    """Return the Keras model with its weights. All settings are explicit: users may have changed defaults."""
    form, network = model.preprocessing, model.network
    a, layers = network.architecture, keras.layers
    settings, layout = {"dtype": "float32"}, cells.get(a.cell).layout("keras")
    given = read = keras.Input(_shape(form), dtype="float32", name="steps")
    for index, (kind, value) in enumerate(_cuts(form)):
        read = getattr(layers, kind)(value, name=f"view_{index}", **settings)(read)
    preprocessing = _preprocessing(layers, network, settings)
    if preprocessing is not None:
        read = preprocessing(read)
    for layer in range(a.layers):
        sequences = layer < a.layers - 1 or network.pooling.reads_outputs
        own = {"activation": "tanh", "use_bias": True, "return_sequences": sequences, **layout.settings}
        kind = getattr(layers, layout.layers[0])
        made = kind(a.hidden_size, name=f"{a.cell}_{layer}", **own, **settings)
        if a.bidirectional:
            made = layers.Bidirectional(made, merge_mode="concat", name=f"both_{layer}", **settings)
        read = made(read)
        made.set_weights(_cell_weights(network, layer))
    if network.pooling.reads_outputs:
        pooling = getattr(layers, POOLING_LAYERS[network.pooling.name])
        read = pooling(data_format="channels_last", name=network.pooling.name, **settings)(read)
    for index, (dense, linear) in enumerate(zip(a.dense, network.dense.linears, strict=True)):
        hidden = layers.Dense(dense.units, activation=dense.activation, name=f"dense_{index}", **settings)
        read = hidden(read)
        hidden.set_weights([each.detach().cpu().numpy() for each in (linear.weight.T, linear.bias)])
    activation = "softmax" if probabilities else "linear"
    name = "probabilities" if probabilities else "logits"
    head = layers.Dense(a.classes, activation=activation, name=name, **settings)
    outputs = head(read)
    weight, bias = (each.detach().cpu().double().numpy() for each in (network.head.weight, network.head.bias))
    # Dividing the weights of the head divides the logits: the temperature needs no layer of its own.
    head.set_weights([(each / model.divisor).astype(np.float32) for each in (weight.T, bias)])
    return keras.Model(given, outputs, name="scanline")


def _is_dynamic(form: Preprocessing) -> bool:
    """Return whether the number of steps is free: no view reorders the values of a whole picture."""
    return form.picture is None or (
        form.view == "rows" and form.picture_view is not None and form.picture_view.features == form.features
    )


def _shape(form: Preprocessing) -> tuple[int | None, int]:
    """Return the shape of one input."""
    if _is_dynamic(form) or form.picture is None:
        return None, form.features
    return form.picture.height, form.picture.width * form.picture.channels


def _cuts(form: Preprocessing) -> list[tuple[str, tuple[int, ...]]]:
    """Return the layers, with their arguments, that do what `View.apply` does: pictures to steps."""
    view = form.picture_view
    if view is None or _is_dynamic(form):
        return []
    height, width, channels, k = view.height, view.width, view.channels, view.patch
    made: list[tuple[str, tuple[int, ...]]] = []
    if view.name == "columns":
        made = [("Reshape", (height, width, channels)), ("Permute", (2, 1, 3))]
    elif k:
        made = [("Reshape", (height // k, k, width // k, k, channels)), ("Permute", (1, 3, 2, 4, 5))]
    return [*made, ("Reshape", (height * width * channels // form.features, form.features))]


def _preprocessing(layers: Any, network: Network, settings: dict[str, str]) -> Any:
    """Return (x - shift) / scale as a layer, or None if it changes nothing."""
    shift, scale = (each.detach().cpu().double().numpy() for each in (network.shift, network.scale))
    if not shift.any() and (scale == 1).all():
        return None
    low, high = _DEVIATIONS
    named = {"name": "preprocessing", **settings}
    if ((scale >= low) & (scale <= high)).all():
        # The root of a square rounded to float32 is exact: the layer divides by exactly `scale`.
        return layers.Normalization(mean=shift.tolist(), variance=(scale**2).tolist(), **named)
    with np.errstate(all="ignore"):  # verification finds values that are not finite
        return layers.Rescaling((1 / scale).tolist(), offset=(-shift / scale).tolist(), **named)


def _cell_weights(network: Network, layer: int) -> list[NDArray[np.float32]]:
    """Return [kernel, recurrent_kernel, bias] of each direction, one after the other."""
    a, made = network.architecture, []
    H = a.hidden_size
    cell = cells.get(a.cell)
    order = np.concatenate([np.arange(H) + gate * H for gate in cell.gate_order("keras")])
    for direction in range(network.recurrent.directions):
        arrays = [each.detach().cpu().numpy()[order] for each in network.recurrent.weights(layer, direction)]
        kernel, recurrent, bias, second = arrays
        made += [kernel.T, recurrent.T, bias + second if cell.additive_biases else np.stack([bias, second])]
    return made


# --- verification


def _verify(keras: Any, loaded: Any, model: Model, probabilities: bool, seed: int) -> Verification:
    """Compare the outputs of the loaded file with the model's; raise ModelError if they differ."""
    difference, where, batches, same = 0.0, "none", 0, True
    for values, source in _batches(model, seed):
        logits = Predictor(model.network).outputs(source) / np.float32(model.divisor)
        ours = softmax(logits) if probabilities else logits.astype(np.float64)
        theirs = keras.ops.convert_to_numpy(loaded(values, training=False)).astype(np.float64)
        if theirs.shape != ours.shape:
            raise ModelError(
                f"the Keras model: expected an output of shape {ours.shape} for {values.shape}, found "
                f"{theirs.shape}; nothing was written"
            )
        with np.errstate(invalid="ignore"):  # inf - inf
            apart = float((np.abs(theirs - ours) / np.maximum(np.abs(ours), 1)).max())
        # Written as a negation so that NaN counts as a difference.
        if not apart <= difference:
            difference, where = (apart if apart == apart else np.inf), str(values.shape)
        if ours.shape[1] > 1:
            top = np.sort(ours, 1)[:, -2:]
            # Two classes that are closer than the error may swap: such a tie is not a wrong prediction.
            decided = top[:, 1] - top[:, 0] > 2 * apart * np.maximum(np.abs(top).max(1), 1)
            same = same and bool((theirs.argmax(1) == ours.argmax(1))[decided].all())
        batches += 1
    if not difference <= LIMIT or not same:
        raise ModelError(
            f"the Keras model: its outputs differ from Scanline's, expected a difference of at most "
            f"{LIMIT:g}, found {difference:.2g} (values {where}); nothing was written"
        )
    return Verification(difference, batches, same)


def _batches(model: Model, seed: int) -> Iterator[tuple[NDArray[np.float32], MemorySource]]:
    """Yield random batches, each as the file takes it and as the network reads it."""
    form, network = model.preprocessing, model.network
    generator = numpy_generator(seed, "export")
    steps, width = _shape(form)
    for N, T in ((1, 1), (5, 1), (2, 28), (3, 7), (1, 90), (7, 33)):
        T = steps or max(min(T, _MAX_VALUES // (N * width)), 1)
        if form.picture:
            values = generator.integers(0, form.picture.levels + 1, (N, T, width)).astype(np.float32)
        else:
            shift, scale = (each.detach().cpu().numpy() for each in (network.shift, network.scale))
            values = (shift + scale * generator.uniform(-3, 3, (N, T, width))).astype(np.float32)
        source = MemorySource.from_array(values, np.zeros(N, np.int64), (), "random steps")
        yield values, source if steps is None else form.prepare(source)
