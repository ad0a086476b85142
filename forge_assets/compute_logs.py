"""Where the output of steps is kept: below FORGE_HOME, or where a site names an object store, through dagster-aws."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

from forge_pipelines.errors import ConfigError, PlatformError

UPLOAD_INTERVAL_SECONDS = 30
"""How old what an object store holds of a step that still runs, or that was killed, may be."""


class StepLogs(LocalComputeLogManager):
    """Dagster's local logs; the processes that show them on a terminal meanwhile do not hear Ctrl-C.

    It is a person's word to `forge`, which ends them; each would answer it with a traceback.
    """

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> "StepLogs":
        """Return the one that `dagster.yaml` describes."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Capture what a step writes while this is open."""
        with ExitStack() as stack:
            # Processes keep what was blocked when they were started.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                context = stack.enter_context(super().capture_logs(log_key))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield context


def local_logs(home: Path) -> dict[str, Any]:
    """Return the block of `dagster.yaml` that keeps the output of every step below ``home``, in `storage`."""
    config = {"base_dir": str(home / "storage")}
    return {"compute_logs": {"module": __name__, "class": StepLogs.__name__, "config": config}}


def remote_logs(logs_url: str, cache: Path, endpoint_url: str | None = None) -> dict[str, Any]:
    """Return the block of `dagster.yaml` that keeps the output of every step at ``logs_url``.

    Args:
        logs_url: `s3://bucket/prefix`; without a prefix, `logs`.
        cache: a local folder; what a step writes stands below it until it is uploaded.
        endpoint_url: an object store other than Amazon's.
    """
    bucket, prefix = _parts(logs_url)
    endpoint = {"endpoint_url": endpoint_url} if endpoint_url else {}
    return {
        "compute_logs": {
            "module": "dagster_aws.s3.compute_log_manager",
            "class": "S3ComputeLogManager",
            "config": {
                "bucket": bucket,
                "prefix": prefix,
                "local_dir": str(cache / "compute_logs"),
                "upload_interval": UPLOAD_INTERVAL_SECONDS,
                **endpoint,
            },
        }
    }


def check_logs(logs_url: str, endpoint_url: str | None = None) -> None:
    """Try the bucket, before the first step's output is lost to it.

    Raises:
        ConfigError: the extra is not installed, no credentials are named, or the bucket is missing or closed to them.
        PlatformError: the object store cannot be reached.
    """
    if find_spec("dagster_aws") is None:
        raise ConfigError(f"FORGE_LOGS is {logs_url}, and that needs: pip install 'forge-pipelines[s3]'")
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    bucket, _ = _parts(logs_url)
    try:
        once = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1})
        boto3.client("s3", endpoint_url=endpoint_url, config=once).head_bucket(Bucket=bucket)
    except ClientError as error:
        raise ConfigError(f"FORGE_LOGS is {logs_url}, and {_why(error.response, bucket)}") from error
    except NoCredentialsError as error:
        raise ConfigError(f"FORGE_LOGS is {logs_url}, and no credentials are named: set AWS_ACCESS_KEY_ID") from error
    except BotoCoreError as error:
        raise PlatformError(f"FORGE_LOGS is {logs_url}, and that object store cannot be reached: {error}") from error


def _why(response: Mapping[str, Any], bucket: str) -> str:
    match response["ResponseMetadata"]["HTTPStatusCode"]:
        case 404:
            return f"there is no bucket {bucket}: make it, or name another"
        case 403:
            return f"these credentials may not use the bucket {bucket}: name others, or open it to them"
        case status:
            return f"the object store answers {status} for the bucket {bucket}: see AWS_ENDPOINT_URL and the region"


def _parts(logs_url: str) -> tuple[str, str]:
    address = urlsplit(logs_url)
    return address.netloc, address.path.strip("/") or "logs"
