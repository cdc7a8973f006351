"""The application: every route, on FastAPI."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from scanline.model.artifact import Model
from scanline.serving.batching import Admission
from scanline.serving.guard import Access, App, Guard, Receive, Scope, Send, refuse_stream, send_problem
from scanline.serving.limits import Limits
from scanline.serving.live import converse
from scanline.serving.metrics import MEDIA_TYPE, Metrics
from scanline.serving.predicting import PATH, Predicting, send_answer
from scanline.serving.predictor import Predictor, streams
from scanline.serving.problems import KINDS, Problem
from scanline.serving.problems import MEDIA_TYPE as PROBLEM_TYPE
from scanline.serving.reading import Reader
from scanline.serving.schema import Predictions, PredictWish, ProblemShape

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {"index.html": "text/html; charset=utf-8", "app.js": "text/javascript", "app.css": "text/css"}
STREAM_PATH = "/v1/stream"
_NO_STORE = {"cache-control": "no-store"}


@dataclass(frozen=True, eq=False)
class Service:
    """A model that is served, with all that its routes share.

    name: what the model is called. gallery: what `/v1/gallery` tells.
    """

    name: str
    predictor: Predictor
    limits: Limits
    access: Access
    metrics: Metrics
    admission: Admission
    gallery: dict[str, Any]


def service(
    model: Model, name: str, version: str, access: Access, limits: Limits, gallery: dict[str, Any]
) -> Service:
    """All that `create_app` needs for `model`."""
    predictor, metrics = Predictor(model, version), Metrics()
    metrics.model.labels(name, predictor.digest).set(1)
    return Service(name, predictor, limits, access, metrics, Admission(limits.requests, metrics), gallery)


def create_app(given: Service) -> Guard:
    """An ASGI application. Its lifespan must be run: it owns the threads that compute."""
    reader = Reader(given.predictor.model, given.limits)
    limits, admission, metrics = given.limits, given.admission, given.metrics
    predicting = Predicting(given.predictor, reader, limits, admission, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        given.predictor.warm_up()
        predicting.start()
        yield
        await predicting.stop()

    app = FastAPI(
        title="Scanline",
        version=given.predictor.version,
        description=f"The model {given.name}: {given.predictor.model.data}.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )

    @app.post(
        PATH,
        summary="Answers for sequences or pictures, traces, what-ifs.",
        response_model=Predictions,
        responses={
            status: {"model": ProblemShape, "description": "RFC 9457", "content": {PROBLEM_TYPE: {}}}
            for status in (400, 401, 403, 408, 413, 415, 421, 422, 503)
        },
        openapi_extra={"requestBody": _what_predict_reads()},
    )
    async def predict(request: Request) -> Response:
        answer = await predicting.answer(request.scope, request.receive)
        return Response(answer, media_type="application/json", headers=_NO_STORE)

    @app.websocket(STREAM_PATH)
    async def stream(socket: WebSocket) -> None:
        problem = None
        if not streams(given.predictor.model):
            detail = "this model has to know the end of a sequence before it can read the beginning"
            problem = Problem("wrong-values", detail)
        elif admission.ending:
            problem = Problem("ending", "this server finishes what is under way and takes no more")
        elif metrics.open_streams >= limits.streams:
            problem = Problem("overloaded", f"{limits.streams} streams are open, as many as may be")
        if problem is not None:
            await refuse_stream(socket.scope, socket.receive, socket._send, problem)
            return
        with metrics.stream():
            await socket.accept()
            await converse(socket, given.predictor, reader, limits, predicting.aside)

    described = json.dumps(given.predictor.describe(given.name, limits)).encode()
    shown = json.dumps(given.gallery, allow_nan=False).encode()

    @app.get("/v1/model", summary="What the model is, what it reads, what it is worth, the limits.")
    async def model() -> Response:
        return Response(described, media_type="application/json", headers=_NO_STORE)

    @app.get("/v1/gallery", summary="Test sequences to look at, the hard ones first.")
    async def gallery() -> Response:
        return Response(shown, media_type="application/json", headers=_NO_STORE)

    @app.get("/v2/health/live", summary="Whether the server runs.")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="Whether it takes requests; 503 while it ends.")
    async def ready() -> dict[str, bool]:
        if admission.ending:
            raise Problem("ending", "this server finishes what is under way and takes no more")
        return {"ready": True}

    @app.get("/metrics", summary="For Prometheus.")
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type=MEDIA_TYPE, headers=_NO_STORE)

    @app.get("/problems", summary="What the types of errors mean.")
    async def problems() -> dict[str, dict[str, Any]]:
        return {name: vars(kind) for name, kind in KINDS.items()}

    @app.get("/problems/{name}", summary="What one type of error means.")
    async def one_problem(name: str) -> dict[str, Any]:
        if name not in KINDS:
            raise Problem("unknown-route", f"there is no problem {name[:80]!r}")
        return vars(KINDS[name])

    page = resources.files("scanline.serving") / "page"
    for name, kind in _PAGE.items():
        content = (page / name).read_bytes() if (page / name).is_file() else b""
        path = "/" if name == "index.html" else f"/assets/{name}"
        app.add_api_route(path, _file(content, kind), include_in_schema=False)

    app.openapi()["components"]["schemas"].update(_shapes_of(PredictWish))

    @app.exception_handler(Problem)
    async def tell(request: Request, problem: Problem) -> Response:
        return _Told(problem)

    @app.exception_handler(HTTPException)
    async def tell_route(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            allow = (error.headers or {}).get("Allow", "")
            detail = f"{request.url.path[:200]} has {allow}, not {request.method[:20]}"
            return _Told(Problem("wrong-method", detail, headers=(("allow", allow),)))
        return _Told(Problem("unknown-route", f"there is no {request.url.path[:200]}"))

    return Guard(_with_fast_lane(app, predicting), given.access, limits, metrics)


class _Told(Response):
    """A problem as a response."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(status_code=problem.status)
        self._problem = problem

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send_problem(send, self._problem)


def _file(content: bytes, kind: str) -> Any:
    headers = {"content-security-policy": _CSP, "cache-control": "no-cache"}

    async def file() -> Response:
        return Response(content, media_type=kind, headers=headers)

    return file


def _with_fast_lane(app: App, predicting: Predicting) -> App:
    """`app`, with `POST /v1/predict` answered in front of it: its routing takes longer than the answer."""

    async def lanes(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            scope["route"] = PATH
            await send_answer(send, await predicting.answer(scope, receive))
        elif scope["type"] == "websocket" and scope["path"] != STREAM_PATH:
            problem = Problem("unknown-route", f"there is no stream at {scope['path'][:200]}")
            await refuse_stream(scope, receive, send, problem)
        else:
            await app(scope, receive, send)

    return lanes


def _shapes_of(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema and those that it refers to, as OpenAPI's components."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _what_predict_reads() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{PredictWish.__name__}"}},
            "image/*": binary,
            "multipart/form-data": {
                "schema": {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}
            },
        },
    }
