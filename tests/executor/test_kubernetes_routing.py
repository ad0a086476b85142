"""Forge's executor with a cluster: steps with GPUs become pods, all others stay processes of this machine."""

import os
import sys
from pathlib import Path

import dagster as dg
import kubernetes_jobs as jobs
import pytest
from kubernetes_api import Cluster, Node, kubeconfig, serving

from forge_assets.instance import dagster_instance
from forge_assets.settings import load_settings


def test_only_steps_with_gpus_go_to_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORGE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(Path(jobs.__file__).parent))
    cluster = Cluster([Node("gpus", num_gpus=1)], ["forge"], [jobs.IMAGE], tmp_path)
    with serving(cluster) as address, dagster_instance(load_settings()) as instance:
        kubeconfig(address, tmp_path / "kubeconfig")
        cluster.config_maps["forge"] = {
            **{name: value for name, value in os.environ.items() if name.startswith(("FORGE_", "DAGSTER_"))},
            "PYTHONPATH": os.pathsep.join([str(Path(jobs.__file__).parent), *sys.path]),
        }
        config = {"image": jobs.IMAGE, "kubeconfig": str(tmp_path / "kubeconfig"), "config_maps": ["forge"]}
        execution = {"config": {"kubernetes": config}}
        with dg.execute_job(dg.reconstructable(jobs.routed), instance, run_config={"execution": execution}) as result:
            assert result.success
            here, there = result.output_for_node("here"), result.output_for_node("there")
    assert [job["metadata"]["labels"]["dagster/op"] for job in cluster.posted] == ["there"]
    assert (here, there) == (False, True)
