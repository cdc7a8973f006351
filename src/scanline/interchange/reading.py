"""Selects the importer of a file or folder."""

from __future__ import annotations

from pathlib import Path

from scanline.errors import ModelError, UsageError, did_you_mean
from scanline.interchange.imported import ImportedNetwork
from scanline.interchange.options import ImportOptions

_KINDS = (
    "a TensorFlow 1 checkpoint (NAME.index beside NAME.data-00000-of-00001, or the folder with its "
    "`checkpoint` file), a Keras model (.keras, .h5) or a PyTorch state_dict (.safetensors)"
)

_TF1_ONLY = ("cell_scope", "input_projection")


def read_network(
    source: str | Path, forget_bias: float | None = None, options: ImportOptions | None = None
) -> ImportedNetwork:
    """Read the network in `source` without running any code from it.

    Args:
        source: A Keras model, a PyTorch state_dict, or a TensorFlow 1 checkpoint.
        forget_bias: Number that a TensorFlow 1 cell adds to its forget gate at run time; None: 1, its
            default.
        options: What else the file does not say.

    Raises:
        ModelError: Names what is missing, damaged, or cannot be mapped.
        UsageError: If an option is not for this kind of file.
    """
    options = options or ImportOptions()
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in (".keras", ".h5", ".hdf5"):
        from scanline.interchange.keras.read import read_keras

        _refuse_options(path, options, "a Keras model states it", "readout", *_TF1_ONLY)
        return read_keras(path)
    if suffix == ".safetensors":
        from scanline.interchange.torch.read import read_state_dict

        _refuse_options(path, options, "it is for TensorFlow 1 checkpoints", *_TF1_ONLY)
        return read_state_dict(path, options)
    # A TensorFlow 1 prefix such as model.ckpt is not itself a file: it reaches the check for an index below.
    if suffix in (".pt", ".pth", ".bin", ".ckpt") and path.is_file():
        from scanline.interchange.torch.read import refuse_pickle

        refuse_pickle(path)
    index = path.parent / f"{path.name}.index"
    if path.is_dir() or suffix == ".index" or index.is_file():
        from scanline.interchange.tf1.read import read_checkpoint

        return read_checkpoint(path, 1.0 if forget_bias is None else forget_bias, options)
    if not path.exists():
        near = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ModelError(f"there is no {path}{did_you_mean(path.name, near)}; expected {_KINDS}")
    raise ModelError(f"{path} is no model that can be imported: expected {_KINDS}")


def _refuse_options(path: Path, options: ImportOptions, why: str, *names: str) -> None:
    """Raise UsageError if one of these options is given: it would have no effect."""
    for name in names:
        if getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} has no effect on {path}: {why}; leave it out")
