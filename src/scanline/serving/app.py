"""The ASGI application: all routes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from scanline.model.artifact import TrainedModel
from scanline.serving.access import Access
from scanline.serving.admission import Admission, ending
from scanline.serving.asgi import App, Receive, Scope, Send, refuse_websocket, send_json
from scanline.serving.connections import Connections
from scanline.serving.description import describe_model, obstacle_to_streams
from scanline.serving.limits import Limits
from scanline.serving.metrics import MEDIA_TYPE, Metrics
from scanline.serving.middleware import Guard
from scanline.serving.notice import notice
from scanline.serving.predict import PATH, PredictEndpoint
from scanline.serving.problems import KINDS, Problem
from scanline.serving.problems import MEDIA_TYPE as PROBLEM_TYPE
from scanline.serving.requests import RequestParser
from scanline.serving.responses import Responder
from scanline.serving.schema import Gallery, PredictRequest, PredictResponse, ProblemDocument
from scanline.serving.stream import Stream, serve_stream

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {"index.html": "text/html; charset=utf-8", "app.js": "text/javascript", "app.css": "text/css"}
STREAM_PATH = "/v1/stream"
_NO_STORE = {"cache-control": "no-store"}


@dataclass(frozen=True, eq=False)
class Service:
    """A model that is served, with everything its routes share.

    Attributes:
        name: Name of the model.
        responder: Computes and formats predictions.
        limits: Bounds on requests.
        access: Who may use the server.
        metrics: Its metrics.
        admission: The requests in flight.
        gallery: What `/v1/gallery` returns.
    """

    name: str
    responder: Responder
    limits: Limits
    access: Access
    metrics: Metrics
    admission: Admission
    gallery: Gallery


def create_service(
    model: TrainedModel,
    name: str,
    version: str,
    access: Access,
    limits: Limits,
    gallery: Gallery | None = None,
) -> Service:
    """Return what `create_app` needs to serve `model`; for the arguments see `Service`."""
    responder, metrics = Responder(model, version), Metrics()
    metrics.model.labels(name, responder.digest).set(1)
    admission = Admission(limits.requests, metrics)
    return Service(name, responder, limits, access, metrics, admission, gallery or Gallery(schema=1))


def create_app(service: Service) -> Guard:
    """Return an ASGI application. Its lifespan must be run: it owns the threads that compute."""
    parser = RequestParser(service.responder.model, service.limits)
    endpoint = PredictEndpoint(service.responder, parser, service.limits, service.admission, service.metrics)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Runs before the socket accepts requests: the first request must not pay for lazy initialisation.
        service.responder.warm_up()
        endpoint.start()
        yield
        await endpoint.stop()

    app = FastAPI(
        title="Scanline",
        version=service.responder.version,
        description=f"The model {service.name}: {service.responder.model.data}.",
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    _add_predict(app, endpoint)
    _add_model(app, service)
    _add_stream(app, service)
    _add_operations(app, service)
    _add_page(app, service)
    _add_problems(app)
    # FastAPI only knows models that appear in a signature. The body of `/v1/predict` is read by hand, so
    # its schemas are added here; `openapi()` caches the document that is changed.
    app.openapi()["components"]["schemas"].update(_openapi_schemas(PredictRequest))
    connections = Connections(service.admission, service.limits)
    inner = _with_direct_routes(app, endpoint, _stream_route(service, parser, endpoint))
    return Guard(inner, service.access, service.limits, service.metrics, connections)


def _add_predict(app: FastAPI, endpoint: PredictEndpoint) -> None:
    @app.post(
        PATH,
        summary="Predictions for sequences or images; traces; what-ifs.",
        response_model=PredictResponse,
        responses={
            status: {"model": ProblemDocument, "description": "RFC 9457", "content": {PROBLEM_TYPE: {}}}
            for status in (400, 401, 403, 408, 413, 415, 421, 422, 503)
        },
        openapi_extra={"requestBody": _openapi_body()},
    )
    async def predict(request: Request) -> Response:
        # Bypassed by `_with_direct_routes`; this route documents the operation for OpenAPI.
        body = await endpoint.respond(request.scope, request.receive)
        return Response(body, media_type="application/json", headers=_NO_STORE)


def _add_model(app: FastAPI, service: Service) -> None:
    responder = service.responder
    description = describe_model(
        responder.model, service.name, responder.digest, responder.version, service.limits
    )
    # Model and gallery do not change while the server runs: they are serialised once.
    described = description.model_dump_json(by_alias=True)
    gallery = service.gallery.model_dump_json(by_alias=True)

    @app.get("/v1/model", summary="What the model is, what it reads, its accuracy, the limits.")
    async def model() -> Response:
        return Response(described, media_type="application/json", headers=_NO_STORE)

    @app.get("/v1/gallery", summary="Test sequences to look at, the hardest first.")
    async def gallery_items() -> Response:
        return Response(gallery, media_type="application/json", headers=_NO_STORE)


def _add_operations(app: FastAPI, service: Service) -> None:
    @app.get("/v2/health/live", summary="Whether the server runs.")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="Whether it accepts requests; 503 while it shuts down.")
    async def ready() -> dict[str, bool]:
        if service.admission.ending:
            raise ending()
        return {"ready": True}

    @app.get("/metrics", summary="Metrics for Prometheus.")
    async def prometheus() -> Response:
        return Response(service.metrics.text(), media_type=MEDIA_TYPE, headers=_NO_STORE)


def _add_problems(app: FastAPI) -> None:
    @app.get("/problems", summary="What the types of errors mean.")
    async def problems() -> dict[str, dict[str, int | str]]:
        return {name: asdict(kind) for name, kind in KINDS.items()}

    @app.get("/problems/{name}", summary="What one type of error means.")
    async def problem(name: str) -> dict[str, int | str]:
        if name not in KINDS:
            raise Problem("unknown-route", f"there is no problem {name[:80]!r}")
        return asdict(KINDS[name])

    @app.exception_handler(Problem)
    async def on_problem(request: Request, problem: Problem) -> Response:
        return _problem_response(problem)

    @app.exception_handler(HTTPException)
    async def on_routing_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            allow = (error.headers or {}).get("Allow", "")
            detail = f"{request.url.path[:200]} has {allow}, not {request.method[:20]}"
            return _problem_response(Problem("wrong-method", detail, headers=[("allow", allow)]))
        return _problem_response(Problem("unknown-route", f"there is no {request.url.path[:200]}"))


def _add_page(app: FastAPI, service: Service) -> None:
    model = service.responder.model
    names = _PAGE
    if model.task.per_step or not model.task.has_accuracy:  # the page shows a class for each sequence
        content = notice(model, service.name)
        app.add_api_route("/", _file_route(content, _PAGE["index.html"]), include_in_schema=False)
        names = {"app.css": _PAGE["app.css"]}
    page = resources.files("scanline.serving") / "page"
    for name, media_type in names.items():
        # Read at start: the three files are small, and no request may name a path on disk.
        content = (page / name).read_bytes() if (page / name).is_file() else b""
        path = "/" if name == "index.html" else f"/assets/{name}"
        app.add_api_route(path, _file_route(content, media_type), include_in_schema=False)


def _file_route(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    headers = {"content-security-policy": _CSP, "cache-control": "no-cache"}

    async def file() -> Response:
        return Response(content, media_type=media_type, headers=headers)

    return file


def _problem_response(problem: Problem) -> Response:
    headers = {**dict(problem.headers), **_NO_STORE}
    return Response(problem.to_bytes(), problem.status, headers, PROBLEM_TYPE)


def _refusal(service: Service, obstacle: str | None) -> Problem | None:
    """Return why the server accepts no stream now, or None if it does.

    Args:
        service: The server's parts.
        obstacle: Why the model cannot predict while steps arrive, or None.
    """
    if obstacle is not None:
        detail = "this model has to know the end of a sequence before it can read the beginning"
        return Problem("wrong-values", f"{detail}: {obstacle}")
    if service.admission.ending:
        return ending()
    if service.metrics.open_streams >= service.limits.streams:
        return Problem("overloaded", f"{service.limits.streams} streams are open, which is the limit")
    return None


def _add_stream(app: FastAPI, service: Service) -> None:
    """Add the route that tells a page why its WebSocket is refused: browsers hide the handshake's body."""
    obstacle = obstacle_to_streams(service.responder.model)
    upgrade = Problem("no-websocket", f"{STREAM_PATH} is a WebSocket", headers=[("upgrade", "websocket")])

    @app.get(STREAM_PATH, summary="Why a WebSocket is refused here; it gives predictions while steps arrive.")
    async def stream() -> Response:
        return _problem_response(_refusal(service, obstacle) or upgrade)


def _stream_route(service: Service, parser: RequestParser, endpoint: PredictEndpoint) -> App:
    """Return the ASGI application of `/v1/stream`."""
    limits, metrics = service.limits, service.metrics
    obstacle = obstacle_to_streams(service.responder.model)

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        problem = _refusal(service, obstacle)
        if problem is not None:
            await refuse_websocket(scope, receive, send, problem)
            return
        # There is no await between the check of `open_streams` and this increment, so the bound is exact.
        with metrics.stream():
            await receive()  # websocket.connect
            await send({"type": "websocket.accept"})
            session = Stream(service.responder, parser)
            await serve_stream(receive, send, session.respond, limits, endpoint.slow_thread)

    return stream


def _with_direct_routes(app: App, endpoint: PredictEndpoint, stream: App) -> App:
    """Return `app` with two routes in front of it, as its routing takes longer than a prediction."""

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            scope["route"] = PATH
            await send_json(send, await endpoint.respond(scope, receive))
        elif scope["type"] != "websocket":
            await app(scope, receive, send)
        elif scope["path"] == STREAM_PATH:
            await stream(scope, receive, send)
        else:
            problem = Problem("unknown-route", f"there is no stream at {scope['path'][:200]}")
            await refuse_websocket(scope, receive, send, problem)

    return route


def _openapi_schemas(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of `model` and those it refers to, as OpenAPI's components."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _openapi_body() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{PredictRequest.__name__}"}},
            "image/*": binary,
            "multipart/form-data": {
                "schema": {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}
            },
        },
    }
