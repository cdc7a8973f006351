"""Every reader that the fuzzer tries, with valid files for it."""

from __future__ import annotations

from fuzz.targets.base import Target, _only
from fuzz.targets.data import (
    _csv,
    _idx,
    _npz,
    _parquet,
    _read_arrays,
    _read_data,
    _read_files,
    _read_idx,
    _ts,
)
from fuzz.targets.models import (
    _bundles,
    _checkpoints,
    _ensembles,
    _read_checkpoint,
    _read_model,
    _read_result,
    _read_run,
    _read_unfinished,
    _reseal,
    _reseal_ensemble,
    _results,
    _runs,
    _unfinished,
)
from fuzz.targets.networks import _keras, _read_network, _seal_table, _state_dicts, _tf1
from fuzz.targets.pictures import _folders, _pictures, _read_picture
from fuzz.targets.requests import (
    _lines,
    _posted,
    _read_lines,
    _read_posted,
    _read_request,
    _read_session,
    _read_upload,
    _requests,
    _seal_session,
    _sessions,
    _uploads,
)
from fuzz.targets.settings import _read_recipe, _read_setting, _recipes, _settings

TARGETS = (
    Target("idx", _idx, _read_idx),
    Target("ts", _ts, _read_files),
    Target("csv", _csv, _read_files, needs=("pyarrow",)),
    Target("parquet", _parquet, _read_files, needs=("pyarrow",)),
    Target("npz", _npz, _read_arrays),
    Target("pictures", _pictures, _read_picture),
    Target("folders", _folders, _read_data),
    Target("recipe", _recipes, _read_recipe),
    Target("setting", _settings, _read_setting),
    Target("bundle", _bundles, _read_model, _reseal),
    Target("ensemble", _ensembles, _read_model, _reseal_ensemble),
    Target("checkpoint", _checkpoints, _read_checkpoint, _reseal),
    Target("resume", _unfinished, _read_unfinished, _reseal),
    Target("run", _runs, _read_run, needs=("jinja2", "matplotlib")),
    Target("compare", _results, _read_result),
    Target("session", _sessions, _read_session, _seal_session),
    Target("lines", _lines, _read_lines),
    Target("request", _requests, _read_request, needs=("fastapi",)),
    Target("upload", _uploads, _read_upload, needs=("fastapi",)),
    Target("posted", _posted, _read_posted, needs=("fastapi", "python_multipart")),
    Target("tf1", _tf1, _read_network, _seal_table),
    Target("keras", _keras, lambda folder: _read_network(_only(folder)), needs=("keras", "h5py")),
    Target("torch", _state_dicts, lambda folder: _read_network(_only(folder))),
)
BY_NAME = {target.name: target for target in TARGETS}
