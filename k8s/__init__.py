"""From a watch on Kubernetes API servers to snapshots of endpoints. Knows neither the gateway nor geoip."""

from k8s._budget import Budget
from k8s.access import ClusterAccess, entries_of
from k8s.cluster import Cluster, ServiceKey
from k8s.errors import AccessError, ApiError, CutOffError, GarbageError, K8sError, UnreachableError
from k8s.reflector import Timing
from k8s.slices import IPV4_FIRST, IPV6_FIRST, Endpoint, State, is_endpoint, select

__all__ = [
    "IPV4_FIRST",
    "IPV6_FIRST",
    "AccessError",
    "ApiError",
    "Budget",
    "Cluster",
    "ClusterAccess",
    "CutOffError",
    "Endpoint",
    "GarbageError",
    "K8sError",
    "ServiceKey",
    "State",
    "Timing",
    "UnreachableError",
    "entries_of",
    "is_endpoint",
    "select",
]
