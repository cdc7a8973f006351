"""A stream: a client's sequence is read as it arrives, over a WebSocket."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from concurrent.futures import Executor

from scanline.errors import DataError, ModelError
from scanline.model.session import PredictionSession
from scanline.serving.asgi import Receive, Send
from scanline.serving.limits import Limits
from scanline.serving.problems import Problem
from scanline.serving.requests import RequestParser, decode_session
from scanline.serving.responses import Responder
from scanline.serving.schema import StreamState

_GOING_AWAY = 1001  # RFC 6455, section 7.4.1


class Stream:
    """The session of one client. Its messages are answered one after another, never at the same time."""

    def __init__(self, responder: Responder, parser: RequestParser) -> None:
        self._responder, self._parser = responder, parser
        self._session: PredictionSession = responder.model.stream()

    def respond(self, text: str) -> str:
        """Return the response to one message.

        Raises:
            Problem: If the message is not valid; the session is unchanged.
            DataError: If its steps are not; likewise.
            ModelError: If its saved session is not; likewise.
        """
        message = self._parser.parse_message(text)
        if self._responder.coder is not None and (message.steps is not None or message.text is not None):
            rows = self._parser.parse_cells(message)
            unknown = self._responder.coder.unknown(self._responder.coder.encode(rows))
            predictions = ",".join(self._responder.predictions(self._session.feed(rows)))
            steps = self._session.steps
            return f'{{"steps":{steps},"unknown":{unknown},"predictions":[{predictions}]}}'
        if message.steps is not None:
            probabilities = self._session.feed(self._parser.parse_steps(message.steps))
            predictions = ",".join(self._responder.predictions(probabilities))
            return f'{{"steps":{self._session.steps},"predictions":[{predictions}]}}'
        saved = None
        if message.save:
            saved = base64.b64encode(self._session.to_bytes()).decode()
        elif message.resume is not None:
            # Assigned to `_session` only after all checks, so that a refused message leaves the session
            # unchanged.
            session = self._responder.model.resume(decode_session(message.resume))
            if not isinstance(session.steps, int):
                detail = "resume: expected the session of one sequence, found one of several"
                raise Problem("wrong-values", detail, [("/resume", "of several sequences")])
            self._session = session
        else:
            self._session = self._responder.model.stream()
        state = StreamState.model_validate({"steps": self._session.steps, "session": saved})
        return state.model_dump_json(exclude_none=True)


async def serve_stream(
    receive: Receive, send: Send, respond: Callable[[str], str], limits: Limits, thread: Executor
) -> None:
    """Answer every message of an accepted WebSocket until one side closes it or the client is idle.

    Args:
        receive: ASGI's, of the WebSocket.
        send: ASGI's, of the WebSocket.
        respond: `Stream.respond`; runs in `thread`.
        limits: `idle_s` and `read_s` are enforced here.
        thread: Where to compute, so that the event loop is not blocked.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            async with asyncio.timeout(limits.idle_s):
                message = await receive()
        except TimeoutError:
            reason = f"nothing was sent for {limits.idle_s:g} s"
            await send({"type": "websocket.close", "code": _GOING_AWAY, "reason": reason})
            return
        if message["type"] != "websocket.receive":
            return
        text = message.get("text")
        try:
            if text is None:
                raise Problem("wrong-type", "expected a text message of JSON, found bytes")
            # Awaited before the next message is received: messages of one stream never run at the same
            # time, and a client has at most one message in the thread's queue.
            response = await loop.run_in_executor(thread, respond, text)
        except Problem as problem:
            response = problem.to_bytes().decode()
        except (DataError, ModelError) as error:
            response = Problem("wrong-values", str(error)).to_bytes().decode()
        try:
            async with asyncio.timeout(limits.read_s):
                await send({"type": "websocket.send", "text": response})
        except (TimeoutError, OSError):  # the client does not read, or is gone
            return
