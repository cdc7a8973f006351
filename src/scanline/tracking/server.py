"""A run on an MLflow server: what it holds, and what is added to it.

The server is the only record of what was published: a process that is killed between sending and recording
would otherwise send twice. So points are compared with the history on the server before the first ones are
sent, and again after every failure.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scanline.errors import ScanlineError, one_line
from scanline.storage.digest import sha256
from scanline.tracking.connection import TrackingError, unreachable
from scanline.tracking.facts import IDENTITY, Facts
from scanline.tracking.sealed import Point
from scanline.tracking.target import Target

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

METRICS_PER_REQUEST, ENTITIES_PER_REQUEST = 1000, 100  # limits of MLflow
FILES_TAG, MODEL_TAG = "scanline.files", "scanline.model_sha256"
_REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")  # MLflow's codes
_SPLITS = ("train/", "validation/", "test/")
Each = TypeVar("Each")


class Server:
    """An experiment on a server.

    Attributes:
        target: The server and the experiment.
        client: MLflow's client.
    """

    def __init__(self, target: Target) -> None:
        from mlflow.tracking import MlflowClient

        self.target = target
        self.client: MlflowClient = MlflowClient(target.uri, target.uri)
        self._experiment_id: str | None = None

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn whatever the client raises into a TrackingError of one line."""
        try:
            yield
        except ScanlineError:
            raise
        except Exception as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> TrackingError:
        shown, text = self.target.shown, str(error)
        for secret in self.target.secrets.values():
            text = text.replace(secret, "***") if secret else text
        code = getattr(error, "error_code", "")
        if code in _REFUSALS or "error code 401" in text or "401 Client Error" in text:
            return TrackingError(
                f"{shown} refuses the credentials",
                remedy="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
            )
        lost = _lost_connection(error)
        if lost is not None:
            return TrackingError(unreachable(self.target, lost))
        if not self.target.is_http:  # the address of a database has its password
            text = text.replace(self.target.uri, shown)
        return TrackingError(
            f"{shown} refuses a request ({code or type(error).__name__}: {one_line(text, 300)})"
        )

    @property
    def experiment_id(self) -> str:
        """The experiment's id; it is created if there is none of this name."""
        if self._experiment_id is None:
            self._experiment_id = self._find_experiment() or self._create_experiment()
        return self._experiment_id

    def _find_experiment(self) -> str | None:
        found = self.client.get_experiment_by_name(self.target.experiment)
        if found is None:
            return None
        if found.lifecycle_stage == "deleted":
            raise TrackingError(
                f"the experiment {self.target.experiment!r} of {self.target.shown} is deleted",
                remedy=f"restore it with `mlflow experiments restore -x {found.experiment_id}`, or choose "
                "another one with ?experiment=NAME",
            )
        return str(found.experiment_id)

    def _create_experiment(self) -> str:
        try:
            return str(self.client.create_experiment(self.target.experiment))
        except Exception:
            # Another process may have created it in the meantime.
            found = self._find_experiment()
            if found is None:
                raise
            return found

    def find(self, facts: Facts, name: str) -> ServerRun:
        """Return the MLflow run of a run; it is created if there is none.

        Args:
            facts: Identity and beginning of the run.
            name: Name of a new MLflow run.
        """
        where = f"tags.`{IDENTITY}` = '{facts.identity}'"
        found = self.client.search_runs([self.experiment_id], where, order_by=["attributes.start_time"])
        if found:
            return ServerRun(self, found[0])
        tags = {IDENTITY: facts.identity, "mlflow.source.name": "scanline", "mlflow.source.type": "LOCAL"}
        created = self.client.create_run(self.experiment_id, facts.began_ms, tags, name)
        return ServerRun(self, created)


class ServerRun:
    """An MLflow run.

    Attributes:
        id: Its id.
        tags: Its tags.
    """

    def __init__(self, server: Server, run: Any) -> None:
        self._server, self._client = server, server.client
        self.id: str = run.info.run_id
        self.tags: dict[str, str] = dict(run.data.tags)
        self._start_ms: int = run.info.start_time
        self._parameters: dict[str, str] = dict(run.data.params)
        self._metrics: set[str] = set(run.data.metrics)

    @property
    def url(self) -> str | None:
        """Address of its page; None if there is no HTTP server."""
        if not self._server.target.is_http:
            return None
        base = self._server.target.uri.partition("?")[0].rstrip("/")
        return f"{base}/#/experiments/{self._server.experiment_id}/runs/{self.id}"

    def missing(self, points: Sequence[Point]) -> list[Point]:
        """Return the points that the server does not hold.

        Args:
            points: All points of the run's metrics.jsonl that may be published.

        Raises:
            TrackingError: If the server holds points of the same metrics that the run does not have.
        """
        held = self._held(tuple({point.key for point in points}) + tuple(self._metrics), _SPLITS)
        foreign = held - set(points)
        if foreign:
            raise TrackingError(
                f"the MLflow run {self.id} of {self._server.target.shown} holds {len(foreign):,} points that "
                "metrics.jsonl does not have, as after damage to a checkpoint or in a copy of a run",
                remedy=f"delete that MLflow run (`mlflow runs delete --run-id {self.id}`) and publish again",
            )
        return [point for point in points if point not in held]

    def missing_final(self, points: Sequence[Point]) -> list[Point]:
        """Return the points of a result that the server does not hold."""
        held = self._held(tuple(point.key for point in points), ("final/",))
        return [point for point in points if point not in held]

    def _held(self, keys: Sequence[str], prefixes: tuple[str, ...]) -> set[Point]:
        return {
            Point(each.key, each.value, each.step, each.timestamp - self._start_ms)
            for key in sorted(set(keys) & self._metrics)
            if key.startswith(prefixes)
            for each in self._client.get_metric_history(self.id, key)
        }

    def add_points(self, points: Sequence[Point]) -> None:
        """Add points, whose times are counted from the start of the MLflow run."""
        from mlflow.entities import Metric

        for some in _batches(points, METRICS_PER_REQUEST):
            # A point has the same time whenever it is sent, so that databases refuse to hold it twice.
            metrics = [Metric(key, value, self._start_ms + ms, step) for key, value, step, ms in some]
            self._client.log_batch(self.id, metrics=metrics, synchronous=True)
            self._metrics |= {point.key for point in some}

    def describe(self, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Set parameters and tags that differ.

        MLflow keeps the first value of a parameter. Where a run was resumed with more steps, the new value
        becomes a tag, "recipe.train.steps".
        """
        from mlflow.entities import Param, RunTag

        known = self._parameters
        new = {key: value for key, value in parameters.items() if key not in known}
        changed = {
            f"recipe.{key}": value for key, value in parameters.items() if known.get(key, value) != value
        }
        wanted = {**tags, **changed}
        for some in _batches(new.items(), ENTITIES_PER_REQUEST):
            self._client.log_batch(self.id, params=[Param(*each) for each in some], synchronous=True)
            known.update(some)
        missing = {key: value for key, value in wanted.items() if self.tags.get(key) != value}
        for few in _batches(missing.items(), ENTITIES_PER_REQUEST):
            self._client.log_batch(self.id, tags=[RunTag(*each) for each in few], synchronous=True)
            self.tags.update(few)

    def upload(self, files: Mapping[str, bytes]) -> None:
        """Upload the files that differ from those on the server, by their digests in a tag."""
        held = self._uploaded()
        digests = {name: sha256(content)[:16] for name, content in files.items()}
        changed = [name for name in files if held.get(name) != digests[name]]
        if not changed:
            return
        with tempfile.TemporaryDirectory(prefix="scanline-track-") as folder:
            for name in changed:
                path = Path(folder) / name
                path.write_bytes(files[name])
                self._client.log_artifact(self.id, str(path))
        # Last: a file whose tag is missing is uploaded again.
        self.describe({}, {FILES_TAG: json.dumps(held | digests)})

    def _uploaded(self) -> dict[str, str]:
        try:
            held = json.loads(self.tags.get(FILES_TAG, "{}"))
        except ValueError:
            return {}
        return held if isinstance(held, dict) else {}

    def add_model(self, write: Callable[[Path, str], None], digest: str, step: int) -> None:
        """Add an MLflow model, unless the server has it.

        Args:
            write: Called with a folder to write the model into, and the id of the model.
            digest: SHA-256 of its model.json.
            step: Training step of its weights.
        """
        if self.tags.get(MODEL_TAG) == digest:
            return
        from mlflow.entities import LoggedModelOutput

        model = self._find_model(digest)
        if model is None:
            experiment, tags = self._server.experiment_id, {MODEL_TAG: digest}
            model = self._client.create_logged_model(experiment, "model", self.id, tags)
        if model.status != "READY":
            with tempfile.TemporaryDirectory(prefix="scanline-track-") as folder:
                write(Path(folder) / "model", model.model_id)
                self._client.log_model_artifacts(model.model_id, f"{folder}/model")
            self._client.finalize_logged_model(model.model_id, "READY")
        outputs = self._client.get_run(self.id).outputs
        known = {each.model_id for each in outputs.model_outputs} if outputs is not None else set()
        if model.model_id not in known:
            self._client.log_outputs(self.id, [LoggedModelOutput(model.model_id, step)])
        # Last: a model whose tag is missing is looked for, and completed.
        self.describe({}, {MODEL_TAG: digest})

    def _find_model(self, digest: str) -> Any:
        where = f"tags.`{MODEL_TAG}` = '{digest}'"
        found = self._client.search_logged_models([self._server.experiment_id], where)
        return next((model for model in found if model.source_run_id == self.id), None)

    def set_status(self, status: str, offset_ms: int | None = None) -> None:
        """Set the status; one that ends the run has the duration of the training."""
        if offset_ms is None:
            self._client.update_run(self.id, status=status)
        else:
            self._client.set_terminated(self.id, status, self._start_ms + offset_ms)


def _batches(items: Iterable[Each], size: int) -> Iterator[list[Each]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _lost_connection(error: BaseException | None) -> str | None:
    """Return why a connection was lost; None if the error is another one."""
    # The client reports lost connections as errors of its own, raised while it handles these.
    from requests.exceptions import HTTPError, RequestException, Timeout

    while error is not None:
        if isinstance(error, Timeout):
            return "timed out"
        if isinstance(error, RequestException | ConnectionError) and not isinstance(error, HTTPError):
            # The innermost reason stands at the end, behind addresses and objects.
            return str(error).rpartition(": ")[2].strip("()'\" ") or type(error).__name__
        error = error.__cause__ or error.__context__
    return None
