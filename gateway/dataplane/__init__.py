"""The data plane: worker threads that serve requests and never take the GIL. The only place that touches a request's bytes."""

from gateway.dataplane._affinity import client_key, header_key
from gateway.dataplane._counters import Counters
from gateway.dataplane._settings import CompiledSettings
from gateway.dataplane._snapshot import Snapshots
from gateway.dataplane._worker import Worker
from gateway.dataplane.settings import Settings

__all__ = ["CompiledSettings", "Counters", "Settings", "Snapshots", "Worker", "client_key", "header_key"]
