"""A Kubernetes cluster as a site describes it, and what the pods of its steps are given."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from forge_assets.settings import Settings
from forge_pipelines.errors import ConfigError
from forge_pipelines.gpu.request import GPU_TAG, GpuRequest
from forge_pipelines.manifest import Value

_GRACE_SECONDS = 8


class KubernetesConfig(Value):
    """Where steps run in the cluster, and what every pod of theirs is given."""

    image: str = Field(description="The image that holds Forge and the project's definitions.")
    namespace: str = Field("forge", description="The namespace of the Jobs.")
    kubeconfig: Path | None = Field(
        None, description="A kubeconfig file. Default: the service account of the pod that this process runs in."
    )
    service_account: str | None = Field(None, description="Service account of the pods. Default: the namespace's own.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When a node fetches the image."
    )
    image_pull_secrets: tuple[str, ...] = Field((), description="Names of the secrets that open the image's registry.")
    config_maps: tuple[str, ...] = Field((), description="Config maps whose entries become environment variables.")
    secrets: tuple[str, ...] = Field((), description="Secrets whose entries become environment variables.")
    environment: Mapping[str, str] = Field(default_factory=dict, description="Variables that are no secret.")
    claims: Mapping[str, str] = Field(
        default_factory=dict, description="Persistent volume claims, by name, and the folder where each is mounted."
    )
    runtime_class: str | None = Field(
        "nvidia", description="Runtime class of pods with GPUs; null where the cluster's default one serves them."
    )
    product_label: str = Field(
        "nvidia.com/gpu.product",
        description="The node label that names the product, as NVIDIA's feature discovery does.",
    )
    shared_memory: str = Field("16Gi", description="Size of /dev/shm of pods with GPUs; it counts as their memory.")
    look_seconds: float = Field(5.0, gt=0, description="Seconds between two looks at how a step's pod is.")
    cpu_steps: bool = Field(False, description="Send steps without GPUs to the cluster too.")


def cluster_of(settings: Settings, configured: Mapping[str, Any] | None = None) -> KubernetesConfig | None:
    """Return the cluster that a run's configuration describes, or the site's file, or None where neither does.

    Raises:
        ConfigError: the description is wrong, or the file is missing.
    """
    if configured is None and settings.kubernetes is None:
        return None
    where = "the executor's kubernetes" if configured is not None else f"FORGE_KUBERNETES, {settings.kubernetes},"
    try:
        if configured is None:
            assert settings.kubernetes is not None
            configured = yaml.safe_load(settings.kubernetes.read_text())
        return KubernetesConfig.model_validate(configured)
    except OSError as error:
        raise ConfigError(f"{where} cannot be read ({error.strerror}): name a YAML file") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        wrong = error.errors()[0]
        field = ".".join(str(part) for part in wrong["loc"]) or "as a whole"
        raise ConfigError(f"{where} is wrong at {field}: {wrong['msg']}") from error


def pod_parts(config: KubernetesConfig, request: GpuRequest, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what a step's pod is given, in the form of the tag `dagster-k8s/config`."""
    parts = _site_parts(config, environment)
    container, pod = parts["container_config"], parts["pod_spec_config"]
    if request.count == 0:
        # CUDA images ask for all devices, and a node whose default runtime is NVIDIA's would give them.
        container["env"].append({"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"})
        return parts
    devices = {GPU_TAG: str(request.count)}
    container["resources"] = {"limits": devices, "requests": devices}
    container["volume_mounts"].append({"name": "shared-memory", "mount_path": "/dev/shm"})
    memory = {"medium": "Memory", "size_limit": config.shared_memory}
    pod["volumes"].append({"name": "shared-memory", "empty_dir": memory})
    pod["tolerations"] = [{"key": GPU_TAG, "operator": "Exists"}]
    if config.runtime_class is not None:
        pod["runtime_class_name"] = config.runtime_class
    if request.product is not None:
        pod["node_selector"] = {config.product_label: request.product.replace(" ", "-")}
    return parts


def _site_parts(config: KubernetesConfig, environment: Mapping[str, str]) -> dict[str, Any]:
    variables = {**environment, **config.environment}
    account = {"service_account_name": config.service_account} if config.service_account else {}
    volumes = [(f"claim-{number}", claim, folder) for number, (claim, folder) in enumerate(config.claims.items())]
    return {
        "container_config": {
            "image_pull_policy": config.image_pull_policy,
            "env": [{"name": name, "value": value} for name, value in variables.items()],
            "env_from": [
                *({"config_map_ref": {"name": name}} for name in config.config_maps),
                *({"secret_ref": {"name": name}} for name in config.secrets),
            ],
            "volume_mounts": [{"name": name, "mount_path": folder} for name, _, folder in volumes],
        },
        "pod_spec_config": {
            **account,
            "image_pull_secrets": [{"name": name} for name in config.image_pull_secrets],
            "automount_service_account_token": False,
            "termination_grace_period_seconds": _GRACE_SECONDS,
            "volumes": [{"name": name, "persistent_volume_claim": {"claim_name": claim}} for name, claim, _ in volumes],
        },
    }
