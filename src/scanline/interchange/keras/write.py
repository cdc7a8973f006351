"""A model as a Keras 3 file, for programs that go on from there: with TensorFlow, JAX or PyTorch."""

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

from scanline.data.memory import MemorySource
from scanline.data.preprocessing import Preprocessing
from scanline.errors import MissingExtraError, ModelError, ScanlineError, UsageError
from scanline.metrics.probabilities import softmax
from scanline.model.artifact import Model
from scanline.model.network import Network
from scanline.model.predictor import Predictor
from scanline.seeding import numpy_generator
from scanline.storage.atomic import write_atomic
from scanline.tasks.classification import require

LIMIT = 1e-4
_NUMBERS = 2**20  # values of a batch, so that models of wide steps and large pictures are checked in seconds
# Keras divides by no deviation below 1e-7, and keeps variances, which float32 holds for these deviations.
_DEVIATIONS = (1e-6, 1e18)
# What Keras makes of a model that it cannot build, save or load.
_FAULTS = (ValueError, TypeError, RuntimeError)


def export_keras(
    model: Model, target: str | Path, *, probabilities: bool = True, seed: int = 0
) -> dict[str, Any]:
    """Write `model` to the one file `target`, NAME.keras, with its preprocessing inside.

    Input: float32 (batch, steps, F), as the network reads them before they are shifted and scaled, of a
    picture's row the grey levels; batch and steps may be any. A model of pictures that are seen otherwise
    than by rows takes whole pictures, (batch, height, width x channels). All sequences of a batch have the
    same number of steps: lengths are not exported, as what Keras' Masking takes for padding it finds in the
    values, and here no value means that. Output: (batch, K) probabilities, calibrated if `model` is, or
    logits, divided by the temperature likewise.

    Keras writes the file on whichever backend it has. It is then loaded again, in safe mode, and tried on
    random batches of several sizes and lengths; seed: of those.
    Returns `file`, `kind`, `opset` (None), `classes` (for which the file has no place), `difference` (the
    largest from our answers; of logits beyond 1 relative to them), `batches` and `same_class`.
    Raises UsageError if Keras is not installed or the model cannot be exported, ModelError if the file
    answers otherwise than `model` does. Then nothing is written.
    """
    path = Path(target)
    if path.suffix.lower() != ".keras":
        raise UsageError(f"a Keras model is written to a file NAME.keras, got {path}")
    require(model.task, "Keras export")
    _check(model.preprocessing)
    keras = _keras()
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.keras"
        try:
            _build(keras, model, probabilities).save(written)
            loaded = keras.saving.load_model(written, compile=False, safe_mode=True)
        except OSError as error:
            raise ScanlineError(f"cannot write {written}: {error.strerror or error}") from error
        except _FAULTS as error:
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"Keras {keras.__version__} cannot keep this model: {said}; nothing was written; update Keras"
            ) from error
        found = _verify(keras, loaded, model, probabilities, seed)
        write_atomic(path, written.read_bytes())
    classes = list(model.class_names)
    return {"file": str(target), "kind": "keras", "opset": None, "classes": classes} | found


def _check(form: Preprocessing) -> None:
    """Raises UsageError if Keras has no layers for what comes before the network."""
    if form.missing != "error":
        raise UsageError(
            f"this model fills missing values (input.missing {form.missing}), for which Keras has no layer: "
            "export it as .onnx, or train with input.missing=error"
        )
    if form.view == "permuted":
        raise UsageError(
            "this model sees pixels in an order drawn by chance (input.view permuted), for which Keras has "
            "no layer: export it as .onnx"
        )


def _keras() -> Any:
    """The package, with the backend that is set, or with torch where Keras would look for one in vain."""
    set_here = "keras" not in sys.modules and "KERAS_BACKEND" not in os.environ and _has_no_backend()
    if set_here:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        import h5py  # noqa: F401  # Keras looks for it late
        import keras
    except (ImportError, ValueError) as error:  # no such backend here, or at all
        if isinstance(error, ImportError) and error.name in ("keras", "h5py"):
            raise MissingExtraError("writing a Keras model", [error.name], "keras") from None
        said = str(error).splitlines()[0]
        raise UsageError(
            f"Keras cannot start ({said}): install its backend, or set KERAS_BACKEND=torch"
        ) from error
    finally:
        if set_here:
            del os.environ["KERAS_BACKEND"]
    return keras


def _has_no_backend() -> bool:
    """Whether Keras would take TensorFlow, which it does unless told otherwise, and there is none."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        wanted = json.loads((home / "keras.json").read_text()).get("backend", "tensorflow")
    except (OSError, ValueError, AttributeError):
        wanted = "tensorflow"
    return bool(wanted == "tensorflow" and find_spec("tensorflow") is None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Keras on torch warns its own authors of."""
    with warnings.catch_warnings():
        message = "__array__ implementation doesn't accept a copy keyword"
        warnings.filterwarnings("ignore", message, DeprecationWarning)
        yield


# --- the network in Keras' layers


def _build(keras: Any, model: Model, probabilities: bool) -> Any:
    """The model, with its weights. Every setting is said, as users may have changed what Keras takes."""
    form, network = model.preprocessing, model.network
    a, layers = network.architecture, keras.layers
    settings = {"dtype": "float32"}
    given = read = keras.Input(_shape(form), dtype="float32", name="steps")
    for index, (kind, value) in enumerate(_cuts(form)):
        read = getattr(layers, kind)(value, name=f"view_{index}", **settings)(read)
    preprocessing = _preprocessing(layers, network, settings)
    if preprocessing is not None:
        read = preprocessing(read)
    layout = network.recurrent.cell.layout("keras")
    for layer in range(a.layers):
        sequences = layer < a.layers - 1 or a.readout != "last"
        own: dict[str, Any] = {"activation": "tanh", "use_bias": True, "return_sequences": sequences}
        own |= layout.settings
        made = getattr(layers, layout.layers[0])(a.hidden_size, name=f"{a.cell}_{layer}", **own, **settings)
        if a.bidirectional:
            made = layers.Bidirectional(made, merge_mode="concat", name=f"both_{layer}", **settings)
        read = made(read)
        made.set_weights(_cell_weights(network, layer))
    if a.readout != "last":
        pooling = layers.GlobalAveragePooling1D if a.readout == "mean" else layers.GlobalMaxPooling1D
        read = pooling(data_format="channels_last", name=a.readout, **settings)(read)
    activation = "softmax" if probabilities else "linear"
    name = "probabilities" if probabilities else "logits"
    head = layers.Dense(a.classes, activation=activation, name=name, **settings)
    answers = head(read)
    weight, bias = (each.detach().cpu().double().numpy() for each in (network.head.weight, network.head.bias))
    head.set_weights([(each / model.divisor).astype(np.float32) for each in (weight.T, bias)])
    return keras.Model(given, answers, name="scanline")


def _is_dynamic(form: Preprocessing) -> bool:
    """Whether there may be any number of steps, as nothing has to be put in another order before."""
    return form.picture is None or (
        form.view == "rows" and form.seen is not None and form.seen.features == form.features
    )


def _shape(form: Preprocessing) -> tuple[int | None, int]:
    """Of one input."""
    if _is_dynamic(form) or form.picture is None:
        return None, form.features
    return form.picture.height, form.picture.width * form.picture.channels


def _cuts(form: Preprocessing) -> list[tuple[str, tuple[int, ...]]]:
    """The layers, with their arguments, that make the network's steps of whole pictures, as `View` does."""
    view = form.seen
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
    """(x - shift) / scale as a layer, or None where it changes nothing."""
    shift, scale = (each.detach().cpu().double().numpy() for each in (network.shift, network.scale))
    if not shift.any() and (scale == 1).all():
        return None
    low, high = _DEVIATIONS
    named = {"name": "preprocessing", **settings}
    if ((scale >= low) & (scale <= high)).all():
        # The root of a square rounded to float32 is exact: the layer divides by `scale` itself.
        return layers.Normalization(mean=shift.tolist(), variance=(scale**2).tolist(), **named)
    with np.errstate(all="ignore"):  # what no number can be is found when the file is tried
        return layers.Rescaling((1 / scale).tolist(), offset=(-shift / scale).tolist(), **named)


def _cell_weights(network: Network, layer: int) -> list[NDArray[np.float32]]:
    """[kernel, recurrent_kernel, bias] of each direction, one after the other."""
    a, made = network.architecture, []
    H, cell = a.hidden_size, network.recurrent.cell
    order = np.concatenate([np.arange(H) + gate * H for gate in cell.gate_order("keras")])
    for direction in range(network.recurrent.directions):
        arrays = [each.detach().cpu().numpy()[order] for each in network.recurrent.weights(layer, direction)]
        kernel, recurrent, bias, second = arrays
        made += [kernel.T, recurrent.T, bias + second if cell.additive_biases else np.stack([bias, second])]
    return made


# --- the file, tried


def _verify(keras: Any, loaded: Any, model: Model, probabilities: bool, seed: int) -> dict[str, Any]:
    """What the loaded file answers, held against our own. Raises ModelError if it is something else."""
    difference, where, batches, same = 0.0, "none", 0, True
    for values, part in _batches(model, seed):
        logits = Predictor(model.network).outputs(part) / np.float32(model.divisor)
        ours = softmax(logits) if probabilities else logits.astype(np.float64)
        theirs = keras.ops.convert_to_numpy(loaded(values, training=False)).astype(np.float64)
        if theirs.shape != ours.shape:
            raise ModelError(
                f"the Keras model answers with {theirs.shape} for {values.shape}, expected {ours.shape}; "
                "nothing was written"
            )
        with np.errstate(invalid="ignore"):  # inf - inf
            apart = float((np.abs(theirs - ours) / np.maximum(np.abs(ours), 1)).max())
        if not apart <= difference:
            difference, where = (apart if apart == apart else np.inf), str(values.shape)
        if ours.shape[1] > 1:
            two = np.sort(ours, 1)[:, -2:]
            sure = two[:, 1] - two[:, 0] > 2 * apart * np.maximum(np.abs(two).max(1), 1)
            same = same and bool((theirs.argmax(1) == ours.argmax(1))[sure].all())
        batches += 1
    if not difference <= LIMIT or not same:
        raise ModelError(
            f"the Keras model answers otherwise than Scanline: expected a difference of at most {LIMIT:g}, "
            f"found {difference:.2g} (values {where}); nothing was written"
        )
    return {"difference": difference, "batches": batches, "same_class": same}


def _batches(model: Model, seed: int) -> Iterator[tuple[NDArray[np.float32], MemorySource]]:
    """Random batches as the file takes them, beside the same as the network reads them."""
    form, network = model.preprocessing, model.network
    generator = numpy_generator(seed, "export")
    steps, width = _shape(form)
    for N, T in ((1, 1), (5, 1), (2, 28), (3, 7), (1, 90), (7, 33)):
        T = steps or max(min(T, _NUMBERS // (N * width)), 1)
        if form.picture:
            values = generator.integers(0, form.picture.levels + 1, (N, T, width)).astype(np.float32)
        else:
            shift, scale = (each.detach().cpu().numpy() for each in (network.shift, network.scale))
            values = (shift + scale * generator.uniform(-3, 3, (N, T, width))).astype(np.float32)
        part = MemorySource.from_array(values, np.zeros(N, np.int64), (), "random steps")
        yield values, part if steps is None else form.prepare(part)
