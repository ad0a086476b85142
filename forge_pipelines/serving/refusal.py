"""What an application is told when its request is not answered, in the shape of OpenAI's errors."""

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """A request is not answered; the message is one sentence for its author.

    Args:
        status: HTTP status.
        message: what is wrong, and what to do.
        code: OpenAI's short name of the error, by which clients tell them apart.
        param: the field of the request that it is about.
        retry_after_seconds: when the same request may succeed.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after_seconds = retry_after_seconds

    @property
    def body(self) -> Mapping[str, Any]:
        """The JSON of the answer."""
        kind = {429: "rate_limit_error"}.get(
            self.status, "server_error" if self.status >= 500 else "invalid_request_error"
        )
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers."""
        return {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
