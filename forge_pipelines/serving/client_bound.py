"""Ties the work on a request to its client: it ends when the client goes away, wherever it waits."""

import asyncio
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forge_pipelines.serving.refusal import Refusal

_BODY_BYTES = 4 * 2**20


class ClientBound:
    """Reads a request's body whole, then runs the application until it has answered or the client has gone.

    Args:
        application: what answers.
        refuse: makes the answer to a body that is too long.
    """

    def __init__(self, app: ASGIApp, refuse: Callable[[Refusal], Response]) -> None:
        self._application = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the ASGI interface)."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        body = bytearray()
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if len(body) > _BODY_BYTES:
                too_long = Refusal(413, f"the body is longer than {_BODY_BYTES} bytes; send a shorter prompt")
                await self._refuse(too_long)(scope, receive, send)
                return
            if not message.get("more_body", False):
                await _run_while_there(self._application(scope, _replay(bytes(body)), send), receive)
                return


def _replay(body: bytes) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()  # that the client goes away is seen outside
        raise AssertionError

    return receive


async def _run_while_there(application: Awaitable[None], receive: Receive) -> None:
    work, gone = asyncio.ensure_future(application), asyncio.ensure_future(receive())
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        gone.cancel()
        work.cancel()
        await asyncio.wait({work, gone})
