"""The data plane: worker threads that serve requests and never take the GIL. The only place that touches a request's bytes."""

from gateway.dataplane.proxy._affinity import client_key, header_key
from gateway.dataplane.reactor._worker import Worker
from gateway.dataplane.shared._counters import Counters
from gateway.dataplane.shared._settings import CompiledSettings
from gateway.dataplane.shared._snapshot import Snapshots
from gateway.dataplane.shared.settings import Settings

__all__ = ["CompiledSettings", "Counters", "Settings", "Snapshots", "Worker", "client_key", "header_key"]
