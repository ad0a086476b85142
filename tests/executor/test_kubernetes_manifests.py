"""The manifests that a site applies: valid by Kubernetes' own schemas, and of one piece."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_api import MANIFESTS, VERSION

from forge_assets.executor.cluster import KubernetesConfig, pod_parts
from forge_pipelines.gpu.request import GpuRequest

FILES = sorted(MANIFESTS.glob("*.yaml"))


def named(kind: str, name: str) -> dict[str, Any]:
    found = [each for path in FILES for each in yaml.safe_load_all(path.read_text())]
    (one,) = [each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return one


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_manifest_is_valid(path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_what_steps_are_given_is_among_the_manifests() -> None:
    config = KubernetesConfig.model_validate(
        yaml.safe_load(named("ConfigMap", "forge-steps")["data"]["kubernetes.yaml"])
    )
    parts = pod_parts(config, GpuRequest(count=1), {})
    assert (
        named("ServiceAccount", parts["pod_spec_config"]["service_account_name"])["automountServiceAccountToken"]
        is False
    )
    assert [named("PersistentVolumeClaim", claim)["metadata"]["namespace"] for claim in config.claims] == ["forge"]
    assert [named("ConfigMap", name)["metadata"]["namespace"] for name in config.config_maps] == [config.namespace]


def test_steps_and_forge_share_image_variables_and_folders() -> None:
    config = KubernetesConfig.model_validate(
        yaml.safe_load(named("ConfigMap", "forge-steps")["data"]["kubernetes.yaml"])
    )
    (forge,) = named("StatefulSet", "forge")["spec"]["template"]["spec"]["containers"]
    assert forge["image"] == config.image
    assert [source["configMapRef"]["name"] for source in forge["envFrom"][:1]] == list(config.config_maps)
    assert [source["secretRef"]["name"] for source in forge["envFrom"][1:]] == list(config.secrets)
    assert {mount["name"]: mount["mountPath"] for mount in forge["volumeMounts"]}.items() >= dict(config.claims).items()
