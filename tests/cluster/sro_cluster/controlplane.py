"""A real Kubernetes control plane on one machine: etcd, API server, controller manager and scheduler."""

import json
import shutil
import socket
import ssl
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sro_cluster.binaries import ensure_binaries
from sro_cluster.kubeconfig import write_kubeconfig
from sro_cluster.pki import Authority, Pair
from sro_cluster.processes import Processes

SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
NODE_ADDRESS = "10.97.0.1"
"""Of the bridge that a node makes; nothing listens there while there is no node."""

_LOOPBACK = "127.0.0.1"
_READY_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class _Ports:
    etcd: int
    etcd_peer: int
    api: int
    controller_manager: int
    scheduler: int


class ControlPlane:
    """The control plane as a context manager: ready on entry, gone on exit.

    ``with ControlPlane(directory) as control_plane:`` gives ``control_plane.kubeconfig`` (of the administrator). With
    ``die_with_parent`` no process outlives the caller, however that one ends.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        bind_address: str = _LOOPBACK,
        die_with_parent: bool = True,
        audit: bool = False,
        controller_qps: int | None = None,
        gangs: bool = False,
    ) -> None:
        """
        Args:
            directory: for keys, data and logs; a temporary one, removed on exit, where None.
            bind_address: what the API server listens on; etcd and the others listen on loopback always.
            die_with_parent: False where the cluster is to go on after this program, to be stopped by ``down``.
            controller_qps: requests a second that controller manager and scheduler may make, in place of their own 20 and 50.
            audit: write who did what, request metadata only, to ``audit.log``.
            gangs: serve and schedule PodGroups of Kubernetes, which are alpha in this version.
        """
        self._temporary = directory is None
        self.directory = (directory or Path(tempfile.mkdtemp(prefix="sro-"))).absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.bind_address = bind_address
        self.processes = Processes(self.directory, die_with_parent=die_with_parent)
        self.authority = Authority(self.directory / "pki")
        self.kubeconfig = self.directory / "kubeconfig"
        self.audit_log = self.directory / "audit.log"
        self._audit = audit
        self._gangs = gangs
        self._controller_qps = controller_qps
        self.server = ""
        self.binaries = Path()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything and returns when the API server is ready.

        Raises:
            ClusterError: a program could not be built, or ended, or was not ready in time.
        """
        self.binaries = ensure_binaries()
        ports = _Ports(**dict(zip(_Ports.__annotations__, free_ports(len(_Ports.__annotations__)), strict=True)))
        self.server = f"https://{self.bind_address}:{ports.api}"
        self._start_etcd(ports)
        self.authority.create()
        admin = self.authority.issue("admin", user="admin", group="system:masters")
        write_kubeconfig(self.kubeconfig, server=self.server, authority=self.authority.pair.certificate, user=admin)
        self._start_api_server(ports, admin)
        self._start_controller_manager(ports)
        self._start_scheduler(ports)

    def stop(self) -> None:
        """Stops every process, and removes the folder if it was a temporary one."""
        self.processes.stop_all()
        if self._temporary:
            shutil.rmtree(self.directory)

    def component_kubeconfig(self, name: str, *, user: str, group: str | None = None) -> Path:
        """A kubeconfig with a new certificate for a component of the cluster."""
        pair = self.authority.issue(name, user=user, group=group)
        path = self.directory / f"{name}.kubeconfig"
        return write_kubeconfig(path, server=self.server, authority=self.authority.pair.certificate, user=pair)

    def _start_etcd(self, ports: _Ports) -> None:
        client, peer = f"http://{_LOOPBACK}:{ports.etcd}", f"http://{_LOOPBACK}:{ports.etcd_peer}"
        data = self.directory / "etcd"
        shutil.rmtree(data, ignore_errors=True)
        listen = [f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"]
        cluster = [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
        # The data live as long as the test: nothing is gained by waiting for the disk.
        quick = ["--unsafe-no-fsync", "--log-level=warn"]
        self.processes.start("etcd", [self.binaries / "etcd", f"--data-dir={data}", *listen, *cluster, *quick])

    def _start_api_server(self, ports: _Ports, admin: Pair) -> None:
        names = ("DNS:localhost", "DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc")
        addresses = (f"IP:{_LOOPBACK}", f"IP:{NODE_ADDRESS}", f"IP:{API_SERVICE_ADDRESS}")
        serving = self.authority.issue("kube-apiserver", user="kube-apiserver", addresses=names + addresses)
        # The kubelet lets the API server in as a member of the group that may do everything.
        kubelet_client = self.authority.issue("kubelet-client", user="kube-apiserver", group="system:masters")
        authority = self.authority
        flags = {
            "etcd-servers": f"http://{_LOOPBACK}:{ports.etcd}",
            "bind-address": self.bind_address,
            "secure-port": ports.api,
            "advertise-address": NODE_ADDRESS,
            "tls-cert-file": serving.certificate,
            "tls-private-key-file": serving.key,
            "client-ca-file": authority.pair.certificate,
            "kubelet-client-certificate": kubelet_client.certificate,
            "kubelet-client-key": kubelet_client.key,
            "kubelet-certificate-authority": authority.pair.certificate,
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": authority.service_account_public_key,
            "service-account-signing-key-file": authority.service_account_key,
            "service-cluster-ip-range": SERVICE_RANGE,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "allow-privileged": "true",
            **self._audit_flags(),
            **self._gang_flags(),
        }
        if self._gangs:
            flags["runtime-config"] = "scheduling.k8s.io/v1alpha2=true"
        self.processes.start("kube-apiserver", [self.binaries / "kube-apiserver", *_as_flags(flags)])
        context = ssl.create_default_context(cafile=str(authority.pair.certificate))
        context.load_cert_chain(admin.certificate, admin.key)
        self.processes.wait_until(
            "kube-apiserver", lambda: answers(f"{self.server}/readyz", context=context), seconds=_READY_SECONDS
        )

    def _audit_flags(self) -> dict[str, object]:
        if not self._audit:
            return {}
        rules = [{"level": "Metadata"}]
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
        path = self.directory / "audit-policy.json"
        path.write_text(json.dumps(policy))
        return {"audit-policy-file": path, "audit-log-path": self.audit_log}

    def _gang_flags(self) -> dict[str, object]:
        return {"feature-gates": "GenericWorkload=true,GangScheduling=true"} if self._gangs else {}

    def _rate_flags(self) -> dict[str, object]:
        qps = self._controller_qps
        return {} if qps is None else {"kube-api-qps": qps, "kube-api-burst": 2 * qps}

    def _start_controller_manager(self, ports: _Ports) -> None:
        user = "system:kube-controller-manager"
        flags = {
            "kubeconfig": self.component_kubeconfig("kube-controller-manager", user=user),
            "bind-address": _LOOPBACK,
            "secure-port": ports.controller_manager,
            "cert-dir": self.directory / "kube-controller-manager",
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": self.authority.service_account_key,
            "root-ca-file": self.authority.pair.certificate,
            "cluster-signing-cert-file": self.authority.pair.certificate,
            "cluster-signing-key-file": self.authority.pair.key,
            "flex-volume-plugin-dir": self.directory / "volume-plugins",
            **self._rate_flags(),
            **self._gang_flags(),
        }
        name = "kube-controller-manager"
        self.processes.start(name, [self.binaries / name, *_as_flags(flags)])
        health = f"https://{_LOOPBACK}:{ports.controller_manager}/healthz"
        self.processes.wait_until(name, lambda: answers(health, context=_unverified()), seconds=_READY_SECONDS)

    def _start_scheduler(self, ports: _Ports) -> None:
        flags = {
            "kubeconfig": self.component_kubeconfig("kube-scheduler", user="system:kube-scheduler"),
            "bind-address": _LOOPBACK,
            "secure-port": ports.scheduler,
            "cert-dir": self.directory / "kube-scheduler",
            "leader-elect": "false",
            **self._rate_flags(),
            **self._gang_flags(),
        }
        name = "kube-scheduler"
        self.processes.start(name, [self.binaries / name, *_as_flags(flags)])
        health = f"https://{_LOOPBACK}:{ports.scheduler}/healthz"
        self.processes.wait_until(name, lambda: answers(health, context=_unverified()), seconds=_READY_SECONDS)


def answers(url: str, *, context: ssl.SSLContext | None = None) -> bool:
    """Whether a GET of the URL is answered with 200 within two seconds."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _unverified() -> ssl.SSLContext:
    """For the health ports of components that sign their own serving certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _as_flags(values: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def free_ports(count: int) -> list[int]:
    """Ports on loopback that are free now; held together while chosen, so that no two are the same."""
    sockets = [socket.create_server((_LOOPBACK, 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports
