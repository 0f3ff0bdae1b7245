"""The API server as tests see it: a small blocking JSON client, and a recorder of what happens to a Service's endpoints.

Independent of k8s/ on purpose: a fault in the gateway's reflector must not be hidden by the same fault in the test.
"""

import http.client
import json
import ssl
import threading
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

PLURALS = {"Deployment": "deployments", "Service": "services", "Namespace": "namespaces", "Pod": "pods", "EndpointSlice": "endpointslices"}
CLUSTER_WIDE = {"Namespace"}


class ApiError(Exception):
    """The API server refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def path_of(api_version: str, kind: str, namespace: str | None, name: str | None = None) -> str:
    """The URL path of one object, or of a collection when `name` is None."""
    path = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    if namespace is not None and kind not in CLUSTER_WIDE:
        path += f"/namespaces/{namespace}"
    return path + f"/{PLURALS[kind]}" + (f"/{name}" if name else "")


class Api:
    """Calls one API server with a client certificate. Each call has its own connection: a stopped server leaves nothing half open."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        self.host, self.port, self.tls = host, port, tls

    def connect(self, timeout_s: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=timeout_s)

    def call(self, method: str, path: str, body: Json | None = None, kind: str = "application/json", timeout_s: float = 10.0) -> Json:
        """The answer's object; `kind` is the body's content type. ApiError when refused, OSError when nobody answers within `timeout_s`."""
        connection = self.connect(timeout_s)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, {"content-type": kind})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise ApiError(answer.status, text.decode(errors="replace"))
        return json.loads(text) if answer.getheader("content-type", "").startswith("application/json") else {"text": text.decode()}

    def is_well(self, path: str) -> bool:
        """Whether a health path (/readyz, /healthz) answers 200."""
        try:
            self.call("GET", path, timeout_s=2.0)
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True

    def apply(self, manifest: Json) -> Json:
        """Server-side apply: creates the object or makes it so."""
        meta = manifest["metadata"]
        path = path_of(manifest["apiVersion"], manifest["kind"], meta.get("namespace", "default"), meta["name"])
        return self.call("PATCH", f"{path}?fieldManager=tests&force=true", manifest, "application/apply-patch+yaml")

    def delete(self, manifest: Json) -> None:
        """Deletes an object and, in the background, what belongs to it. An object that isn't there is fine."""
        meta = manifest["metadata"]
        path = path_of(manifest["apiVersion"], manifest["kind"], meta.get("namespace", "default"), meta["name"])
        try:
            self.call("DELETE", f"{path}?propagationPolicy=Background")
        except ApiError as refused:
            if refused.status != 404:
                raise

    def deployment(self, name: str, namespace: str = "default") -> Json:
        return self.call("GET", path_of("apps/v1", "Deployment", namespace, name))

    def pods(self, app: str, namespace: str = "default") -> list[Json]:
        """The pods with the label app=`app`, those that are being deleted included."""
        found: list[Json] = self.call("GET", path_of("v1", "Pod", namespace) + f"?labelSelector=app%3D{app}")["items"]
        return found

    def scale(self, name: str, replicas: int, namespace: str = "default") -> None:
        path = path_of("apps/v1", "Deployment", namespace, name) + "/scale"
        self.call("PATCH", path, {"spec": {"replicas": replicas}}, "application/merge-patch+json")

    def endpoints(self, service: str, namespace: str = "default") -> list["Endpoint"]:
        """What the Service's EndpointSlices say now."""
        return [endpoint for item in self.list_slices(service, namespace)["items"] for endpoint in endpoints_of(item)]

    def list_slices(self, service: str, namespace: str = "default") -> Json:
        return self.call("GET", slices_path(service, namespace))

    def is_rolled_out(self, name: str, namespace: str = "default") -> bool:
        """As `kubectl rollout status` sees it, and every pod that had to go is gone."""
        found = self.deployment(name, namespace)
        wanted, status = found["spec"]["replicas"], found.get("status", {})
        counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")}
        seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        return seen and counts == {wanted} and len(self.pods(name, namespace)) == wanted


def slices_path(service: str, namespace: str) -> str:
    return path_of("discovery.k8s.io/v1", "EndpointSlice", namespace) + f"?labelSelector=kubernetes.io%2Fservice-name%3D{service}"


@dataclass(frozen=True)
class Endpoint:
    """One endpoint of a slice as it is written there (not as it is to be understood: None is unset)."""

    address: str
    pod: str | None
    ready: bool | None
    serving: bool | None
    terminating: bool | None


def endpoints_of(endpoint_slice: Json) -> list[Endpoint]:
    return [
        Endpoint(
            address,
            (item.get("targetRef") or {}).get("name"),
            *((item.get("conditions") or {}).get(key) for key in ("ready", "serving", "terminating")),
        )
        for item in endpoint_slice.get("endpoints") or []
        for address in item["addresses"]
    ]


class EndpointRecorder:
    """Watches one Service's EndpointSlices from now on and keeps every state they were in, until the watch ends or close()."""

    def __init__(self, api: Api, service: str, namespace: str = "default") -> None:
        found = api.list_slices(service, namespace)
        self.slices: dict[str, list[Endpoint]] = {item["metadata"]["name"]: endpoints_of(item) for item in found["items"]}
        self.states: list[frozenset[Endpoint]] = []
        self.record()
        self.connection = api.connect(timeout_s=600.0)
        version = found["metadata"]["resourceVersion"]
        self.connection.request("GET", f"{slices_path(service, namespace)}&watch=true&resourceVersion={version}")
        self.answer = self.connection.getresponse()
        self.thread = threading.Thread(target=self.follow, name="endpoint-recorder", daemon=True)
        self.thread.start()

    def record(self) -> None:
        self.states.append(frozenset(endpoint for one in self.slices.values() for endpoint in one))

    def follow(self) -> None:
        try:
            for line in self.answer:
                event = json.loads(line)
                name = event["object"]["metadata"]["name"]
                self.slices[name] = [] if event["type"] == "DELETED" else endpoints_of(event["object"])
                self.record()
        except (OSError, ValueError, http.client.HTTPException):
            pass  # the server went away, or close() cut the stream: what was seen stays

    def close(self) -> list[frozenset[Endpoint]]:
        """Ends the watch; the states, oldest first."""
        if self.connection.sock is not None:
            # A plain close would wait for the reading thread.
            self.connection.sock.shutdown(2)
        self.thread.join(5.0)
        self.connection.close()
        return self.states
