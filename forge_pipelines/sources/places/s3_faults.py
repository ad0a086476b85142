"""What goes wrong between us and an S3 server, in sentences: whose fault it is, where, and what to correct."""

from dataclasses import dataclass
from typing import Any

from forge_pipelines.errors import ConfigError
from forge_pipelines.sources.places.objects import AwayError
from forge_pipelines.sources.places.reach import refusal_within

_CREDENTIALS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
_FORBIDDEN = {"401", "403", "AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "Unauthorized"}
_ELSEWHERE = {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"}
_BUSY = {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "OperationAborted", "TooManyRequests"}
_GONE = {"404", "NoSuchKey", "NoSuchVersion", "412", "PreconditionFailed"}
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Server:
    """What the sentences name.

    Attributes:
        bucket: the bucket.
        endpoint: where the server is; without credentials.
        credentials: whose are used: «of the connection archive».
    """

    bucket: str
    endpoint: str
    credentials: str

    def fault(self, error: Exception, doing: str) -> ConfigError | AwayError:
        """Return what an error means that is one of `faults`.

        Args:
            error: what was raised.
            doing: what was asked for, such as «list the bucket forge».
        """
        from botocore.exceptions import ClientError

        refusal = refusal_within(error)
        if refusal is not None:
            return refusal
        return self._of_answer(error, doing) if isinstance(error, ClientError) else self._of_silence(error)

    def _of_answer(self, error: Exception, doing: str) -> ConfigError | AwayError:
        code, status = code_of(error), _status_of(error)
        if code in _BUSY or status == _TOO_MANY_REQUESTS or status >= _SERVER_ERRORS:
            return AwayError(f"it answers {status}" + (f" ({code})" if code not in {"", str(status)} else ""))
        return ConfigError(self._refused(code, status, doing))

    def _refused(self, code: str, status: int, doing: str) -> str:
        if code == "NoSuchBucket":
            correct = f"correct `object_store.url`, or the endpoint {self.credentials}"
            return f"there is no bucket {self.bucket} at {self.endpoint}: {correct}"
        if code in _CREDENTIALS:
            return f"{self.endpoint} refuses the credentials {self.credentials} ({code}): correct them"
        if code == "RequestTimeTooSkewed":
            return f"the clocks of this machine and of {self.endpoint} differ: set them right"
        if code in _FORBIDDEN:
            return f"the credentials {self.credentials} may not {doing} at {self.endpoint}: allow it, or use others"
        if code in _ELSEWHERE or status in range(300, 400):
            correct = f"correct the endpoint or the region {self.credentials}"
            return f"{self.endpoint} says that the bucket {self.bucket} is elsewhere ({code}): {correct}"
        correct = f"see that it is an S3 server, or correct the endpoint {self.credentials}"
        return f"{self.endpoint} answers {status} ({code}) when asked to {doing}: {correct}"

    def _of_silence(self, error: Exception) -> ConfigError | AwayError:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            correct = f"correct the endpoint {self.credentials}, or name the authority's file in AWS_CA_BUNDLE"
            return ConfigError(f"the certificate of {self.endpoint} is not trusted: {correct}")
        if _is_ours(error):
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
            return ConfigError(
                f"{self.endpoint} cannot be asked for {self.bucket} with the credentials {self.credentials}; "
                f"correct what this names: {reason}"
            )
        return AwayError(_silence(error))


def faults() -> tuple[type[Exception], ...]:
    """Return what botocore and aiohttp raise when something goes wrong on the way."""
    import aiohttp
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return ClientError, BotoCoreError, ResponseParserError, aiohttp.ClientError, OSError


def is_gone(error: Exception) -> bool:
    """Tell whether an object is no longer there, or no longer the one that was listed."""
    return code_of(error) in _GONE


def is_forbidden(error: Exception) -> bool:
    """Tell whether the server knows the credentials, and allows them less than was asked for."""
    return code_of(error) in _FORBIDDEN


def is_archived(error: Exception) -> bool:
    """Tell whether an object must be restored before it can be read."""
    return code_of(error) == "InvalidObjectState"


def code_of(error: Exception) -> str:
    """Return the code of a `botocore.exceptions.ClientError`, such as ``NoSuchKey``; empty for any other error."""
    return str(_answer(error).get("Error", {}).get("Code", ""))


def _status_of(error: Exception) -> int:
    return int(_answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answer(error: Exception) -> dict[str, Any]:
    from botocore.exceptions import ClientError

    return error.response if isinstance(error, ClientError) else {}


def _is_ours(error: Exception) -> bool:
    """Tell whether botocore could not ask at all, because of what it was given."""
    from botocore import exceptions

    passing = (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.FlexibleChecksumError,
        exceptions.CredentialRetrievalError,
        exceptions.MetadataRetrievalError,
    )
    return isinstance(error, exceptions.BotoCoreError) and not isinstance(error, passing)


def _silence(error: Exception) -> str:
    from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError
    from botocore.parsers import ResponseParserError

    if isinstance(error, EndpointConnectionError):
        return "it cannot be reached"
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        return "no answer comes in time"
    if isinstance(error, ResponseParserError):
        return "its answers are not S3's"
    return f"it breaks off ({type(error).__name__})"
