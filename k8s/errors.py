"""What can go wrong between us and an API server, each as one printable line. Knows neither HTTP nor the kubernetes package.

Nothing here is raised out of `Cluster.run`: a fault becomes `Cluster.error` and another attempt.
"""

from __future__ import annotations

MESSAGE_CHARS = 300


def one_line(text: str, limit: int = MESSAGE_CHARS) -> str:
    """`text` on one line of printable characters, cut at `limit`.

    What a server or a plugin says ends in logs and in `/pops`: it must not be able to write lines or escape codes there.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


class K8sError(Exception):
    """A fault of a cluster's configuration, of its API server or of the way there. `str()` is one line, fit for an operator."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class AccessError(K8sError):
    """No usable credentials or server address: which file, which context, what is legal."""


class ApiError(K8sError):
    """The API server answered, with a refusal: as an HTTP status, or as a Status object inside a watch."""

    def __init__(self, message: str, *, code: int = 0, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s

    @property
    def is_expired(self) -> bool:
        """The resource version asked for is gone, or from the future (an etcd restored from a backup): list without one."""
        return self.code == 410 or self.reason in ("Expired", "Gone", "ResourceVersionTooLarge")

    @property
    def is_busy(self) -> bool:
        """The server asks for patience: what was asked may be asked again as it is."""
        return self.code == 429


class UnreachableError(K8sError):
    """No answer: refused, unresolvable, TLS failed, timed out, or cut off."""


class CutOffError(UnreachableError):
    """An answer that broke off on the way: for a watch an everyday end, proxies and load balancers do it."""


class GarbageError(K8sError):
    """An answer that is no Kubernetes API's: not JSON, another kind, cut short or too long."""
