"""Posts JSON to a webhook. Its address may hold a secret, so no message names it."""

import time
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from forge_pipelines.errors import PlatformError

_TRIES = 3
_TIMEOUT_SECONDS = 10


def post(url: str, body: str, pause_seconds: float = 1.0) -> None:
    """Post a JSON text; try three times.

    Raises:
        PlatformError: nobody took it; the message says why, without the address.
    """
    for left in reversed(range(_TRIES)):
        try:
            _post_once(url, body)
        except (OSError, HTTPException) as error:
            if left == 0:
                raise PlatformError(f"the webhook of FORGE_ALERT_WEBHOOK does not take alerts: {_why(error)}") from None
            time.sleep(pause_seconds)
        else:
            return


def _post_once(url: str, body: str) -> None:
    request = Request(url, body.encode(), {"Content-Type": "application/json"}, method="POST")
    with urlopen(request, timeout=_TIMEOUT_SECONDS):
        pass


def _why(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"it answers {error.code} {error.reason}"
    return f"it cannot be reached ({type(error).__name__})"
