"""A stream: a client's sequence is read while it comes, over a WebSocket."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from concurrent.futures import Executor
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.websockets import WebSocket, WebSocketDisconnect

from scanline.errors import DataError, ModelError
from scanline.model.session import Session
from scanline.serving.limits import Limits
from scanline.serving.predictor import Predictor
from scanline.serving.problems import Problem
from scanline.serving.reading import Reader, faults
from scanline.serving.schema import StreamWish

_GOING_AWAY = 1001  # RFC 6455, 7.4.1


class Stream:
    """One client's session."""

    def __init__(self, predictor: Predictor, reader: Reader) -> None:
        self._predictor, self._reader = predictor, reader
        self._session: Session = predictor.model.stream()

    def answer(self, text: str) -> str:
        """The answer to one message. Raises Problem; the session is as it was then."""
        try:
            wish = StreamWish.model_validate(from_json(text, allow_inf_nan=False))
        except ValidationError as error:
            raise faults(error) from None
        except ValueError as error:
            raise Problem("malformed", f"expected JSON: {error}") from None
        meant = [name for name in wish.model_fields_set if getattr(wish, name) is not None]
        if len(wish.model_fields_set) != 1 or not meant:
            raise Problem("wrong-values", "expected one of steps, save, resume, reset in a message")
        if wish.steps is not None:
            shares = self._session.feed(self._reader.steps(wish.steps))
            rows = ",".join(self._predictor.rows(shares)) if len(shares) else ""
            return f'{{"steps":{self._session.steps},"predictions":[{rows}]}}'
        found: dict[str, Any] = {}
        if wish.save:
            found["session"] = base64.b64encode(self._session.to_bytes()).decode()
        elif wish.resume is not None:
            session = self._predictor.model.resume(_decoded(wish.resume))
            if not isinstance(session.steps, int):
                detail = "resume: expected the session of one sequence, found one of several"
                raise Problem("wrong-values", detail, (("/resume", "of several sequences"),))
            self._session = session
        else:
            self._session = self._predictor.model.stream()
        return json.dumps({"steps": self._session.steps} | found)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Problem("wrong-values", "resume: expected base64", (("/resume", "not base64"),)) from None


async def converse(
    socket: WebSocket, predictor: Predictor, reader: Reader, limits: Limits, thread: Executor
) -> None:
    """Answer every message of an accepted WebSocket until one side ends, or nothing is said for too long."""
    stream, loop = Stream(predictor, reader), asyncio.get_running_loop()
    while True:
        try:
            async with asyncio.timeout(limits.idle_s):
                message = await socket.receive()
        except TimeoutError:
            await socket.close(_GOING_AWAY, f"nothing was said for {limits.idle_s:g} s")
            return
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        try:
            if text is None:
                raise Problem("wrong-type", "expected a text message of JSON, found bytes")
            answer = await loop.run_in_executor(thread, stream.answer, text)
        except Problem as problem:
            answer = problem.to_bytes().decode()
        except (DataError, ModelError) as error:
            answer = Problem("wrong-values", str(error)).to_bytes().decode()
        try:
            async with asyncio.timeout(limits.read_s):
                await socket.send_text(answer)
        except (TimeoutError, WebSocketDisconnect):
            return
