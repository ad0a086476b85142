"""The web application: the few routes that there are, and what each answers. Nothing else is reachable through it."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from forge_pipelines.serving.answers import Answer, ChatAnswer, CompletionAnswer, Json
from forge_pipelines.serving.client_bound import ClientBound
from forge_pipelines.serving.deployment import ServedModel
from forge_pipelines.serving.engine import Piece
from forge_pipelines.serving.questions import ChatQuestion, CompletionQuestion, Question, read_question
from forge_pipelines.serving.refusal import Refusal
from forge_pipelines.serving.service import Service

HOSTS = ("127.0.0.1", "localhost")
"""The names by which it is reached: a web page that resolves a name of its own to this machine is not let in."""


def build_application(service: Service) -> Starlette:
    """Return the application that answers with whatever the service serves."""
    routes = _Routes(service)
    return Starlette(
        routes=[
            Route("/health", routes.health),
            Route("/v1/models", routes.models),
            Route("/v1/chat/completions", routes.chat, methods=["POST"]),
            Route("/v1/completions", routes.completion, methods=["POST"]),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS)),
            Middleware(ClientBound, refuse=_refuse),
        ],
        exception_handlers={Refusal: _on_refusal, HTTPException: _on_http_exception, Exception: _on_fault},
    )


class _Routes:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def health(self, _request: Request) -> Response:
        """Answer 200 while the model answers, 503 while its engine is started again."""
        current = self._service.current
        lives = current.fault() is None
        said = {
            "status": "ok" if lives else "starting",
            "model": current.model.id,
            "alias": self._service.alias,
            "running": current.admission.running,
            "waiting": current.admission.waiting,
        }
        return JSONResponse(said, 200 if lives else 503)

    async def models(self, _request: Request) -> Response:
        """List the one model."""
        current = self._service.current
        one = {"id": current.model.id, "object": "model", "created": 0, "owned_by": "forge"}
        return JSONResponse({"object": "list", "data": [{**one, "max_model_len": current.prompts.window}]})

    async def chat(self, request: Request) -> Response:
        """Answer a chat."""
        question = read_question(ChatQuestion, await _body(request))
        return await self._answer(question, ChatAnswer(self._require(question.model).id))

    async def completion(self, request: Request) -> Response:
        """Go on from a text."""
        question = read_question(CompletionQuestion, await _body(request))
        return await self._answer(question, CompletionAnswer(self._require(question.model).id))

    def _require(self, name: str) -> ServedModel:
        model = self._service.current.model
        if name not in model.names:
            message = f"there is no model «{name[:200]}» here; this endpoint serves {model.id} alone, "
            known = ", ".join(sorted(model.names))
            raise Refusal(404, f"{message}which may be called {known}", code="model_not_found", param="model")
        return model

    async def _answer(self, question: Question, answer: Answer) -> Response:
        # No other task runs between the look at the current model's name and here, where it is held.
        pieces = self._service.current.answer(question)
        if question.stream:
            first = await anext(pieces)  # so that a refusal has its status
            usage = question.stream_options is not None and question.stream_options.include_usage
            return _Stream(_events(first, pieces, answer, usage=usage), pieces)
        texts = []
        async with aclosing(pieces):
            async for piece in pieces:
                texts.append(piece.text)
        return JSONResponse(answer.whole("".join(texts), piece))


class _Stream(StreamingResponse):
    """Server-sent events; their source is closed when they end, or when the client goes away."""

    def __init__(self, events: AsyncIterator[str], source: AsyncGenerator[Piece, None]) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._source):
            await super().__call__(scope, receive, send)


async def _events(first: Piece, pieces: AsyncIterator[Piece], answer: Answer, *, usage: bool) -> AsyncIterator[str]:
    if (opening := answer.opening()) is not None:
        yield _event(opening)
    last = first
    yield _event(answer.chunk(first))
    try:
        async for last in pieces:
            yield _event(answer.chunk(last))
    except Refusal as refusal:  # the status has been sent
        yield _event(refusal.body)
        return
    if usage:
        yield _event(answer.usage(last))
    yield "data: [DONE]\n\n"


def _event(said: Json) -> str:
    return f"data: {json.dumps(said, ensure_ascii=False)}\n\n"


async def _body(request: Request) -> bytes:
    # A web page can send other types without asking first.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "the body must be JSON: send the header Content-Type: application/json")
    return await request.body()


def _refuse(refusal: Refusal) -> Response:
    return JSONResponse(refusal.body, refusal.status, headers=refusal.headers)


def _on_refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _refuse(error)


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path} is not answered here; there are /health, /v1/models, "
    return _refuse(Refusal(error.status_code, f"{message}/v1/chat/completions and /v1/completions", code="not_found"))


def _on_fault(_request: Request, _error: Exception) -> Response:
    return _refuse(Refusal(500, "the server failed; its terminal says why", code="internal_error"))
