"""Real Kubernetes control planes for tests: etcd, kube-apiserver and kube-controller-manager as processes, pods as processes (pods.py).

Owns how the programs are started, paused, stopped and started again, their certificates and kubeconfig. Must run inside the sandbox
(sandboxed.py): there every control plane has a loopback address of its own, so ports are the usual ones and never clash, and a block of pod
addresses of its own. Nothing here waits without a deadline; a program that fails to start is an error with the end of its log.
"""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from tests.e2e import certificates
from tests.e2e.kubeapi import Api
from tests.e2e.processes import ROOT, Program

API_PORT, ETCD_PORT, ETCD_PEER_PORT, CONTROLLERS_PORT = 6443, 2379, 2380, 10257
START_TIMEOUT_S = 60.0
KUBECTL = Path(sys.executable).parent / "kubectl"
# Only what a Service with a rolling Deployment needs: each controller costs memory and start time.
CONTROLLERS = "deployment-controller,replicaset-controller,endpointslice-controller,garbage-collector-controller,namespace-controller"


class ControlPlane:
    """One cluster. `number` (0 to 14) gives it its addresses: 127.1.NUMBER.1 for its programs, 10.244.(16 * NUMBER).0/20 for its pods;
    10.244.240.0/20 is left to whatever else a test wants to reach by an address of its own (gateways)."""

    def __init__(self, name: str, number: int, folder: Path, assets: Path, pod_environment: Mapping[str, str] | None = None) -> None:
        assert 0 <= number < 15, "the pods' block has room for fifteen clusters"
        self.name, self.folder, self.assets = name, folder, assets
        self.address = f"127.1.{number}.1"
        self.pod_block = f"10.244.{16 * number}.0/20"
        self.server = f"https://{self.address}:{API_PORT}"
        self.kubeconfig = folder / "kubeconfig"
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        certificates.make_all(folder, self.address)
        self.kubeconfig.write_text(yaml.safe_dump(self.describe()))
        tls = ssl.create_default_context(cafile=folder / "ca.crt")
        tls.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        self.api = Api(self.address, API_PORT, tls)
        unverified = ssl._create_unverified_context()  # the controller manager signs for itself
        self.controllers_api = Api(self.address, CONTROLLERS_PORT, unverified)
        self.etcd = Program("etcd", self.etcd_command(), self.logs / "etcd.log")
        self.apiserver = Program("kube-apiserver", self.apiserver_command(), self.logs / "apiserver.log")
        self.controllers = Program("kube-controller-manager", self.controllers_command(), self.logs / "controllers.log")
        self.pods = Program("pods", self.pods_command(), self.logs / "pods.log", pod_environment)

    def describe(self) -> dict[str, Any]:
        """The kubeconfig, as an object: one context, named as the cluster is."""
        user = {"client-certificate": str(self.folder / "admin.crt"), "client-key": str(self.folder / "admin.key")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": self.name, "cluster": {"server": self.server, "certificate-authority": str(self.folder / "ca.crt")}}],
            "users": [{"name": self.name, "user": user}],
            "contexts": [{"name": self.name, "context": {"cluster": self.name, "user": self.name}}],
            "current-context": self.name,
        }

    def etcd_command(self) -> list[str]:
        client, peer = f"http://{self.address}:{ETCD_PORT}", f"http://{self.address}:{ETCD_PEER_PORT}"
        return [
            str(self.assets / "etcd"),
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # a test's data need not survive the machine
            "--log-level=warn",
        ]

    def apiserver_command(self) -> list[str]:
        return [
            str(self.assets / "kube-apiserver"),
            f"--etcd-servers=http://{self.address}:{ETCD_PORT}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={API_PORT}",
            "--endpoint-reconciler-type=none",  # or it would publish its own loopback address as an endpoint, and be refused
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--disable-admission-plugins=ServiceAccount",  # nobody makes the default account here, and pods would wait for it
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'accounts.pub'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            f"--client-ca-file={self.folder / 'ca.crt'}",
            f"--tls-cert-file={self.folder / 'apiserver.crt'}",
            f"--tls-private-key-file={self.folder / 'apiserver.key'}",
        ]

    def controllers_command(self) -> list[str]:
        return [
            str(self.assets / "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig}",
            f"--bind-address={self.address}",
            f"--secure-port={CONTROLLERS_PORT}",
            "--leader-elect=false",
            f"--controllers={CONTROLLERS}",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def pods_command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "tests.e2e.pods"),
            *("--server", self.server, "--certificates", str(self.folder), "--cluster", self.name),
            *("--block", self.pod_block, "--logs", str(self.logs)),
        ]

    def start(self) -> None:
        """Starts everything and waits until the API server is ready and a Deployment would run."""
        self.etcd.start()
        self.start_api()
        self.controllers.start()
        self.pods.start()
        self.controllers.wait_ready(lambda: self.controllers_api.is_well("/healthz"), START_TIMEOUT_S)
        self.pods.wait_ready(lambda: "watching" in self.pods.log.read_text(), START_TIMEOUT_S)

    def start_api(self) -> None:
        """Starts the API server (again) and waits until it is ready."""
        self.apiserver.start()
        self.apiserver.wait_ready(lambda: self.api.is_well("/readyz"), START_TIMEOUT_S)

    def stop_api(self) -> None:
        """Ends the API server: connections are refused at once; it would wait for its watches, but they are cut 1 s later."""
        self.apiserver.stop(timeout_s=1.0)

    def pause_api(self) -> None:
        """The API server answers nothing any more while every connection to it stays open (a half-dead host)."""
        self.apiserver.pause()

    def resume_api(self) -> None:
        self.apiserver.resume()

    def stop(self) -> None:
        """Ends everything, pods included. At once: nothing of this cluster is wanted any more."""
        self.pods.stop()
        for program in (self.controllers, self.apiserver, self.etcd):
            program.kill()

    def kubectl(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """What kubectl printed. AssertionError with what it complained of when it failed."""
        environment = os.environ | {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)}
        command = [str(KUBECTL), *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout


def write_kubeconfig(path: Path, clusters: Iterable[ControlPlane]) -> None:
    """One kubeconfig with a context for each cluster, and none chosen: who uses it must name one."""
    merged: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": [], "current-context": ""}
    for cluster in clusters:
        for key in ("clusters", "users", "contexts"):
            merged[key] += cluster.describe()[key]
    path.write_text(yaml.safe_dump(merged))


class Clusters:
    """Control planes on demand, side by side, ended together: `with Clusters(folder, assets) as clusters: clusters.start("fra", "nyc")`."""

    def __init__(self, folder: Path, assets: Path, pod_environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.assets, self.pod_environment = folder, assets, pod_environment
        self.running: dict[str, ControlPlane] = {}
        self.stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def start(self, *names: str) -> list[ControlPlane]:
        """The control planes of these names; those that don't run yet are started, at the same time."""
        fresh = [name for name in names if name not in self.running]
        for name in fresh:
            plane = ControlPlane(name, len(self.running), self.folder / name, self.assets, self.pod_environment)
            self.stack.callback(plane.stop)
            self.running[name] = plane
        with ThreadPoolExecutor(max_workers=max(1, len(fresh))) as pool:
            list(pool.map(ControlPlane.start, [self.running[name] for name in fresh]))
        return [self.running[name] for name in names]
