"""How to reach one cluster: server address, TLS, credentials. The only module that imports the kubernetes package.

Owns loading (kubeconfig with its exec plugins, in-cluster service account) and the freshness of tokens. Must not know what
is asked of the server. Loading blocks (files, plugins that call a cloud), so it runs in a thread; a fault is an `AccessError`
of one line, and the caller tries again later.

The kubernetes package is imported on first use: it costs 240 ms and some 37 MiB, which a gateway without clusters need not pay.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import ssl
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from k8s._blocking import Blocking
from k8s.errors import AccessError

if TYPE_CHECKING:
    from kubernetes.client import Configuration
    from kubernetes.config.kube_config import ConfigNode

logger = logging.getLogger("isochrone.k8s")

TOKEN_REFRESH_S = 60.0  # client-go reads a token file again each minute; bound tokens are rotated well before they end
TOKEN_DEADLINE_S = 15.0
PLUGIN_DEADLINE_S = 25.0  # below that of a load, so that the thread that waits has ended before the next one

# The package waits for an exec plugin without a deadline, in a thread that nobody can stop. So this runs the plugin, in a session of
# its own, and ends it with all it started. Its output goes through pipes of this process: a child that left the session and still
# holds one keeps nobody waiting.
PLUGIN_RUNNER = """
import os, signal, subprocess, sys
deadline_s, *command = sys.argv[1:]
try:
    plugin = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
except OSError as error:
    sys.exit(f"{command[0]}: {error.strerror}")
try:
    out, err = plugin.communicate(timeout=float(deadline_s))
except subprocess.TimeoutExpired:
    os.killpg(plugin.pid, signal.SIGKILL)
    plugin.wait()
    sys.exit(f"killed, as it had not ended after {deadline_s} s")
sys.stdout.buffer.write(out)
sys.stderr.buffer.write(err)
sys.exit(min(abs(plugin.returncode), 255))
"""

ReadAuthorization = Callable[[], "str | None"]


class ClusterAccess:
    """Server, TLS and credentials of one cluster, as loaded; only the token changes afterwards."""

    def __init__(
        self,
        server: str,
        *,
        tls: ssl.SSLContext | None = None,
        tls_server_name: str | None = None,
        proxy: str | None = None,
        authorization: str | None = None,
        read_authorization: ReadAuthorization | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`authorization` is the value of that header; `read_authorization` (blocking) gives it anew, each minute at most."""
        self.server = server.rstrip("/")
        self.tls = tls
        self.tls_server_name = tls_server_name
        self.proxy = proxy
        self._authorization = authorization
        self._read = read_authorization
        self._clock = clock
        self._read_at = clock()
        self._reader: Blocking[str | None] = Blocking("k8s-token")
        # Equal for the same server, in every process: its address, and whom it must prove to be. Not credentials, nor the proxy.
        self.identity = _identity(self.server, tls_server_name, tls)

    @classmethod
    def load(cls, *, context: str | None = None, kubeconfig: str | None = None, in_cluster: bool = False) -> ClusterAccess:
        """Blocking. The cluster of `context` in `kubeconfig` (defaults: its current one; $KUBECONFIG, ~/.kube/config), or the
        cluster this pod runs in. AccessError says in one line what is wrong and what is legal.
        """
        if in_cluster:
            if context is not None or kubeconfig is not None:
                raise AccessError("in_cluster takes neither a context nor a kubeconfig")
            return _load_in_cluster()
        return _load_kubeconfig(kubeconfig or _default_paths(), context)

    async def headers(self) -> dict[str, str]:
        """What each request carries. A token that can't be read anew stays: the server says when it is no longer good."""
        now = self._clock()
        if self._read is not None and now - self._read_at >= TOKEN_REFRESH_S:
            self._read_at = now
            try:
                self._authorization = await self._reader.call(self._read, TOKEN_DEADLINE_S) or self._authorization
            except (AccessError, TimeoutError) as error:
                logger.warning("%s: cannot read the token again, using the last one: %s", self.server, str(error) or "timed out")
        return {"Authorization": self._authorization} if self._authorization else {}


def entries_of(kubeconfig: str | None, contexts: Collection[str | None]) -> dict[str | None, tuple[str, str]]:
    """Blocking. The names of the cluster and the user of each of these contexts (None: the current one), as far as they can be used.
    Contexts of the same two differ in nothing that the server sees. AccessError where the kubeconfig can't be read."""
    paths = kubeconfig or _default_paths()
    where = f"kubeconfig {paths}"
    merged = _merged(where, paths)
    found = {}
    for context in contexts:
        with contextlib.suppress(AccessError):
            _check_context(where, merged.value, context)
            name = context or merged.value["current-context"]
            entry = _by_name(merged.value, "contexts")[name]["context"]
            assert isinstance(entry, dict), "or it has no cluster, and was refused"
            found[context] = str(entry["cluster"]), str(entry.get("user") or "")
    return found


def _default_paths() -> str:
    return os.environ.get("KUBECONFIG") or "~/.kube/config"


def _identity(server: str, tls_server_name: str | None, tls: ssl.SSLContext | None) -> str:
    trusted = sorted(tls.get_ca_certs(binary_form=True)) if tls else None
    return hashlib.sha256(repr((server, tls_server_name, trusted)).encode()).hexdigest()


def _load_in_cluster() -> ClusterAccess:
    configuration = _in_cluster_configuration()
    return _access("the pod's service account", configuration, lambda: _authorization(_in_cluster_configuration()))


def _in_cluster_configuration() -> Configuration:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, incluster_config

    configuration = Configuration()
    try:
        incluster_config.InClusterConfigLoader(
            token_filename=incluster_config.SERVICE_TOKEN_FILENAME,
            cert_filename=incluster_config.SERVICE_CERT_FILENAME,
        ).load_and_set(configuration)
    except (ConfigException, OSError, ValueError) as error:
        raise AccessError(
            f"in_cluster: {error} (it needs a pod with a mounted service account: KUBERNETES_SERVICE_HOST and "
            f"{incluster_config.SERVICE_TOKEN_FILENAME})"
        ) from error
    return configuration


@dataclass(frozen=True, slots=True)
class _Kubeconfig:
    """One kubeconfig, read, with one context chosen."""

    where: str  # for messages: files and context
    configuration: Configuration
    has_token_file: bool


def _load_kubeconfig(paths: str, context: str | None) -> ClusterAccess:
    loaded = _read_kubeconfig(paths, context)
    hook: Callable[[Configuration], None] | None = loaded.configuration.refresh_api_key_hook

    def read_token_file() -> str | None:
        return _authorization(_read_kubeconfig(paths, context).configuration)

    def ask_plugin() -> str | None:
        assert hook is not None
        with _plugin_failures() as failures:
            try:
                hook(loaded.configuration)
            except Exception as error:  # as when loading: whatever the package runs into
                failures.append(f"{type(error).__name__}: {error}")
        if failures:
            raise AccessError(f"{loaded.where}: {failures[0]}")
        return _authorization(loaded.configuration)

    # The package reads tokenFile once; client-go reads it each minute, and so do we, by loading the whole again. Its hook
    # runs an exec plugin again, but only once less than five minutes are left of the token.
    refresh = read_token_file if loaded.has_token_file else ask_plugin if hook is not None else None
    return _access(loaded.where, loaded.configuration, refresh)


def _merged(where: str, paths: str) -> ConfigNode:
    from kubernetes.config.kube_config import KubeConfigMerger

    if (why := _why_absent(paths)) is not None:
        raise AccessError(f"{where}: {why}")
    try:
        merged: ConfigNode | None = KubeConfigMerger(paths).config
    except Exception as error:  # a broken file raises whatever its shape runs into: YAML, key, type, decoding errors
        raise AccessError(f"{where}: cannot be used: {type(error).__name__}: {error}") from error
    if merged is None:
        raise AccessError(f"{where}: empty")
    return merged


def _why_absent(paths: str) -> str | None:
    """Of several none is there, or none that this user may look at, which the package takes for the same. None: one is there."""
    why = "no such file"
    for path in filter(None, paths.split(os.pathsep)):
        try:
            os.stat(os.path.expanduser(path))
            return None
        except PermissionError as error:
            why = str(error.strerror)
        except (OSError, ValueError):
            pass
    return why


def _read_kubeconfig(paths: str, context: str | None) -> _Kubeconfig:
    from kubernetes.client import Configuration
    from kubernetes.config.kube_config import KubeConfigLoader

    where = f"kubeconfig {paths}"
    merged = _merged(where, paths)
    configuration = Configuration()
    try:
        user = _check_context(where, merged.value, context)
        command = _bound_plugin(user)
        where = f"{where}, context {context or merged.value.get('current-context')}"
        with _plugin_failures() as failures:
            loader = KubeConfigLoader(config_dict=merged, active_context=context, config_base_path=None)
            loader.load_and_set(configuration)
    except AccessError:
        raise
    except Exception as error:  # as above
        raise AccessError(f"{where}: cannot be used: {type(error).__name__}: {error}") from error
    if "exec" in user and "BearerToken" not in configuration.api_key and not configuration.cert_file:
        raise AccessError(f"{where}: the plugin {command!r} gave no credentials: {failures[0] if failures else 'no reason given'}")
    return _Kubeconfig(where, configuration, "tokenFile" in user and not user.get("token"))


def _bound_plugin(user: Mapping[str, object]) -> object:
    """Gives the user's exec plugin, if there is one, its deadline. The command as the file says it, for messages."""
    plugin = user.get("exec")
    if not isinstance(plugin, dict) or not (command := plugin.get("command")):
        return None
    plugin["args"] = ["-I", "-S", "-c", PLUGIN_RUNNER, f"{PLUGIN_DEADLINE_S:g}", command, *(plugin.get("args") or ())]
    plugin["command"] = sys.executable
    return command


def _check_context(where: str, config: object, context: str | None) -> Mapping[str, object]:
    """The user entry of the context ({} if it names none). The package's own errors name neither the file nor what is legal,
    and it takes a user that does not exist, or a cluster without a server, for none.
    """
    if not isinstance(config, dict):
        raise AccessError(f"{where}: not a kubeconfig (its top level is no mapping)")
    contexts = _by_name(config, "contexts")
    legal = f"it has: {', '.join(sorted(contexts)) or 'none'}"
    name = context if context is not None else config.get("current-context")
    if not name:
        raise AccessError(f"{where}: no context was given and the file has no current-context; {legal}")
    if name not in contexts:
        raise AccessError(f"{where}: there is no context {name!r}; {legal}")
    entry = contexts[name].get("context")
    entry = entry if isinstance(entry, dict) else {}
    cluster, clusters = entry.get("cluster"), _by_name(config, "clusters")
    if cluster not in clusters:
        raise AccessError(f"{where}, context {name}: there is no cluster {cluster!r}; it has: {', '.join(sorted(clusters)) or 'none'}")
    described = clusters[cluster].get("cluster")
    if not isinstance(described, dict) or not described.get("server"):
        raise AccessError(f"{where}, context {name}: cluster {cluster!r} has no server")
    if not (user := entry.get("user")):
        return {}
    users = _by_name(config, "users")
    if user not in users:
        raise AccessError(f"{where}, context {name}: there is no user {user!r}; it has: {', '.join(sorted(users)) or 'none'}")
    found = users[user].get("user")
    return found if isinstance(found, dict) else {}


def _by_name(config: Mapping[str, object], section: str) -> dict[str, dict[str, object]]:
    entries = config.get(section)
    plain = [getattr(entry, "value", entry) for entry in entries] if isinstance(entries, list) else []  # a merged entry is wrapped
    return {str(entry["name"]): entry for entry in plain if isinstance(entry, dict) and "name" in entry}


@contextlib.contextmanager
def _plugin_failures() -> Iterator[list[str]]:
    """The package logs a failed exec plugin on the root logger and goes on without a token. Its words, instead of the log line."""
    failures: list[str] = []
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        # A filter of the root logger sees only what is logged on it directly. Other threads' records are none of ours.
        if record.thread != thread:
            return True
        failures.append(record.getMessage())
        return False

    root = logging.getLogger()
    root.addFilter(keep)
    try:
        yield failures
    finally:
        root.removeFilter(keep)


def _authorization(configuration: Configuration) -> str | None:
    # Stripped: files end in a newline, which no header may carry.
    token = configuration.api_key.get("BearerToken")
    return " ".join(token.split()) if token else None


def _access(where: str, configuration: Configuration, refresh: ReadAuthorization | None) -> ClusterAccess:
    from kubernetes.client.rest import should_bypass_proxies

    parts = urlsplit(configuration.host)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AccessError(f"{where}: server must be an http or https URL, got {configuration.host!r}")
    proxy = configuration.proxy
    if proxy and should_bypass_proxies(configuration.host, configuration.no_proxy or ""):
        proxy = None
    if proxy and urlsplit(proxy).scheme not in ("http", "https"):
        raise AccessError(f"{where}: the proxy {urlsplit(proxy).scheme}://... is not supported; it must be an http or https one")
    return ClusterAccess(
        configuration.host,
        tls=_tls(where, configuration) if parts.scheme == "https" else None,
        tls_server_name=configuration.tls_server_name,
        proxy=proxy,
        authorization=_authorization(configuration),
        read_authorization=refresh,
    )


def _tls(where: str, configuration: Configuration) -> ssl.SSLContext:
    try:
        return _tls_context(configuration)
    except (OSError, ValueError):
        # The package keeps inline certificates in temporary files, named before they are written: a second cluster loaded at
        # the same moment from the same kubeconfig may have met a file still empty. Once more, then it is a fault.
        time.sleep(0.05)
    try:
        return _tls_context(configuration)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        named = {
            "certificate-authority": configuration.ssl_ca_cert,
            "client-certificate": configuration.cert_file,
            "client-key": configuration.key_file,
        }
        given = ", ".join(name for name, file in named.items() if file)
        raise AccessError(f"{where}: cannot use its {given or 'certificates'}: {error}") from error


def _tls_context(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    # On by default from Python 3.13; certificate authorities of many a cluster lack the key identifiers it asks for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not configuration.verify_ssl:  # insecure-skip-tls-verify: the operator's word
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        # An encrypted key must fail, not ask for its passphrase on the terminal.
        context.load_cert_chain(configuration.cert_file, configuration.key_file, password="")
    return context
