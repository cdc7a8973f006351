"""Where runs are published: `mlflow:URI?experiment=NAME`, and the environment of the process that does it."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from scanline.errors import MissingExtraError, UsageError, join_names

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "databricks")
EXPERIMENT = "scanline"  # the experiment of targets that name none
_EXAMPLE = "such as mlflow:http://localhost:5000?experiment=NAME"


@dataclass(frozen=True)
class Target:
    """A tracking server and an experiment.

    Attributes:
        uri: Address for the MLflow client. One of a database may have a password in it.
        experiment: Name of the experiment.
        shown: The target as text, without any password.
        secrets: Variables for the environment of the client: user and password of an address.
    """

    uri: str = field(repr=False)
    experiment: str
    shown: str
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Target:
        """Return the target that a text names.

        Args:
            text: "mlflow:URI", with the experiment as its query `experiment`. Without a URI, the variable
                MLFLOW_TRACKING_URI has it. Without an experiment, MLFLOW_EXPERIMENT_NAME or "scanline" is
                taken.
            environment: The variables.

        Raises:
            UsageError: If the text is something else.
        """
        kind, colon, uri = text.partition(":")
        if kind != "mlflow" or not colon:
            raise UsageError(
                where="tracking",
                expected=f"mlflow:URI, {_EXAMPLE}",
                found=repr(_without_password(text)),
                remedy="for other services use the parameter on_event of scanline.train",
            )
        if not uri or uri.startswith("?"):
            uri = environment.get("MLFLOW_TRACKING_URI", "") + uri
            if not uri or uri.startswith("?"):
                raise UsageError(
                    "mlflow: names no server and MLFLOW_TRACKING_URI is not set",
                    where="tracking",
                    remedy=f"name a server, {_EXAMPLE}",
                )
        scheme = uri.partition(":")[0].partition("+")[0]
        if scheme not in SCHEMES:
            raise UsageError(
                where="tracking",
                expected=f"an address that begins with {join_names(SCHEMES)}",
                found=repr(_without_password(uri)),
                remedy=_remedy(uri),
            )
        return cls._of_uri(uri, environment)

    @classmethod
    def _of_uri(cls, uri: str, environment: Mapping[str, str]) -> Target:
        base, _, query = uri.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        named = [value for key, value in pairs if key == "experiment"]
        experiment = named[-1] if named else environment.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        if not experiment.strip():
            raise UsageError("the experiment has no name", where="tracking", remedy=f"name it, {_EXAMPLE}")
        rest = urlencode([pair for pair in pairs if pair[0] != "experiment"])
        plain = _without_password(base)
        shown = f"mlflow:{plain}?{urlencode({'experiment': experiment})}"
        secrets = {}
        if plain != base and base.startswith("http"):
            # Passed to the client in variables: addresses appear in its messages.
            parts = urlsplit(base)
            names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
            secrets = dict(
                zip(names, (unquote(parts.username or ""), unquote(parts.password or "")), strict=True)
            )
            base = plain
        return cls(base + (f"?{rest}" if rest else ""), experiment, shown, secrets)

    @property
    def is_http(self) -> bool:
        """Whether a server is reached over HTTP."""
        return self.uri.startswith(("http://", "https://"))


def check_installed() -> None:
    """Raise MissingExtraError naming the extra to install if MLflow's client is absent."""
    names = {"mlflow": "mlflow-skinny", "pandas": "pandas"}
    missing = [package for module, package in names.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtraError("publishing runs to MLflow", missing, "mlflow")


def _without_password(uri: str) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return uri.rpartition("@")[2]
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _remedy(uri: str) -> str:
    if uri.startswith("file:") or uri.startswith((".", "/", "~")):
        return "MLflow no longer develops its store of files: use mlflow:sqlite:///mlflow.db"
    return f"for a server write mlflow:http://{_without_password('//' + uri).removeprefix('//')}"
