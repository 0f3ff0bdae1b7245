"""Loading credentials: every way in, and each broken file as one line that names the file, the context and what is legal."""

from __future__ import annotations

import asyncio
import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s.access import TOKEN_REFRESH_S, ClusterAccess, entries_of
from k8s.errors import AccessError
from tests.support.unprivileged import unprivileged


def kubeconfig(folder: Path, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **top: Any) -> str:
    path = folder / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "fra",
                "contexts": [
                    {"name": "fra", "context": {"cluster": "c", "user": "u"}},
                    {"name": "nyc", "context": {"cluster": "c2", "user": "u2"}},
                ],
                "clusters": [
                    {"name": "c", "cluster": cluster if cluster is not None else {"server": "http://fra.example:8080/"}},
                    {"name": "c2", "cluster": {"server": "http://nyc.example/base"}},
                ],
                "users": [{"name": "u", "user": user or {"token": "secret"}}, {"name": "u2", "user": {"username": "a", "password": "b"}}],
                **top,
            }
        )
    )
    return str(path)


def plugin(folder: Path, text: str) -> dict[str, Any]:
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}}


def credential(token: str, **status: str) -> str:
    body = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token, **status}}
    return json.dumps(body)


def headers(access: ClusterAccess) -> dict[str, str]:
    return asyncio.run(access.headers())


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(
        "k8s.access.ClusterAccess.__init__.__kwdefaults__", {**ClusterAccess.__init__.__kwdefaults__, "clock": lambda: made.now}
    )
    return made


def test_current_context_and_token(tmp_path: Path) -> None:
    access = ClusterAccess.load(kubeconfig=kubeconfig(tmp_path))
    assert access.server == "http://fra.example:8080"
    assert access.tls is None
    assert headers(access) == {"Authorization": "Bearer secret"}


def test_another_context_with_a_password(tmp_path: Path) -> None:
    access = ClusterAccess.load(kubeconfig=kubeconfig(tmp_path), context="nyc")
    assert access.server == "http://nyc.example/base"
    assert headers(access) == {"Authorization": "Basic YTpi"}


def test_the_file_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{kubeconfig(tmp_path)}")
    assert ClusterAccess.load(context="nyc").server == "http://nyc.example/base"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    (tmp_path / "config").rename(tmp_path / ".kube" / "config")
    assert ClusterAccess.load().server == "http://fra.example:8080"


def test_a_user_without_credentials_is_anonymous(tmp_path: Path) -> None:
    contexts = [{"name": "fra", "context": {"cluster": "c"}}]
    assert headers(ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, contexts=contexts))) == {}


BROKEN: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, "lhr", "there is no context 'lhr'; it has: fra, nyc"),
    ({"current-context": "lhr"}, None, "there is no context 'lhr'; it has: fra, nyc"),
    ({"current-context": ""}, None, "no context was given and the file has no current-context; it has: fra, nyc"),
    ({"contexts": None}, None, "there is no context 'fra'; it has: none"),
    ({"contexts": [{"name": "fra"}]}, None, "there is no cluster None; it has: c, c2"),
    ({"contexts": [{"name": "fra", "context": {"cluster": "x"}}]}, None, "context fra: there is no cluster 'x'; it has: c, c2"),
    ({"contexts": [{"name": "fra", "context": {"cluster": "c", "user": "x"}}]}, None, "context fra: there is no user 'x'; it has: u, u2"),
    ({"cluster": {}}, None, "context fra: cluster 'c' has no server"),
    ({"cluster": {"server": "ftp://x"}}, None, "context fra: server must be an http or https URL, got 'ftp://x'"),
    ({"cluster": {"server": 5}}, None, "context fra: "),
    ({"cluster": {"server": "https://x", "certificate-authority": "absent.crt"}}, None, "File does not exist: "),
    (
        {"cluster": {"server": "https://x", "certificate-authority-data": "bm9uZQ=="}},
        None,
        "context fra: cannot use its certificate-authority: ",
    ),
    ({"cluster": {"server": "https://x", "certificate-authority-data": "!"}}, None, "context fra: "),
    ({"cluster": {"server": "http://x", "proxy-url": "socks5://u:hush-hush@p"}}, None, "the proxy socks5://... is not supported"),
    ({"user": {"tokenFile": "absent"}}, None, "context fra: cannot be used: FileNotFoundError"),
    ({"users": 7}, None, "config"),
]


@pytest.mark.parametrize(("change", "context", "message"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_kubeconfig_is_one_clear_line(tmp_path: Path, change: dict[str, Any], context: str | None, message: str) -> None:
    path = kubeconfig(tmp_path, **change)
    with pytest.raises(AccessError) as caught:
        ClusterAccess.load(kubeconfig=path, context=context)
    assert str(caught.value).startswith(f"kubeconfig {path}")
    assert message in str(caught.value)
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("[1, 2]", "cannot be used: TypeError"),
        ("a: [", "ParserError"),
        ("text", "cannot be used: TypeError"),
        ("\x00", "ReaderError"),
        ("users: {a: b}", "no current-context"),
    ],
)
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(AccessError, match=message) as caught:
        ClusterAccess.load(kubeconfig=str(path))
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match=f"^kubeconfig {tmp_path}/none: no such file$"):
        ClusterAccess.load(kubeconfig=f"{tmp_path}/none")


def test_a_file_that_this_user_may_not_look_at_is_not_called_absent(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path)
    tmp_path.chmod(0)
    try:
        with unprivileged(), pytest.raises(AccessError, match=f"^kubeconfig {path}: Permission denied$"):
            ClusterAccess.load(kubeconfig=path)
    finally:
        tmp_path.chmod(0o700)


def test_an_exec_plugin(tmp_path: Path) -> None:
    user = plugin(tmp_path, f"echo '{credential('from-plugin')}'")
    assert headers(ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, user))) == {"Authorization": "Bearer from-plugin"}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo login first >&2; exit 3", "exec: process returned 3. login first"),
        ("echo no json", "exec: failed to decode process output"),
        ("echo '{}'", "exec: malformed response"),
        (f"echo '{credential('x').replace('token', 'nothing')}'", "missing token or clientCertificateData"),
    ],
)
def test_a_plugin_that_fails_says_why_and_logs_nothing(tmp_path: Path, script: str, message: str, caplog: pytest.LogCaptureFixture) -> None:
    user = plugin(tmp_path, script)
    with pytest.raises(AccessError, match=message) as caught, caplog.at_level(logging.DEBUG):
        ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, user))
    assert user["exec"]["command"] in str(caught.value)
    assert "context fra" in str(caught.value)
    assert caplog.records == []


def test_a_plugin_that_is_not_installed(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin-here"}}
    with pytest.raises(AccessError, match=r"'no-such-plugin-here' gave no credentials: .*No such file"):
        ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, user))


def test_a_plugin_runs_again_when_its_token_ends(tmp_path: Path, clock: Clock) -> None:
    count = tmp_path / "count"
    long_past = credential("T$n", expirationTimestamp="2020-01-01T00:00:00Z").replace('"', '\\"')
    user = plugin(tmp_path, f'echo x >> {count}; n=$(wc -l < {count} | tr -d " "); echo "{long_past}"')
    access = ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, user))
    assert headers(access) == {"Authorization": "Bearer T1"}
    clock.now += TOKEN_REFRESH_S - 1
    assert headers(access) == {"Authorization": "Bearer T1"}
    clock.now += 1
    assert headers(access) == {"Authorization": "Bearer T2"}
    assert headers(access) == {"Authorization": "Bearer T2"}


def test_a_plugin_that_breaks_later_leaves_the_last_token(tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    user = plugin(tmp_path, f"echo '{credential('first', expirationTimestamp='2020-01-01T00:00:00Z')}'")
    access = ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, user))
    plugin(tmp_path, "echo broken >&2; exit 1")
    clock.now += TOKEN_REFRESH_S
    assert headers(access) == {"Authorization": "Bearer first"}
    assert [(r.name, "broken" in r.getMessage()) for r in caplog.records] == [("isochrone.k8s", True)]


def test_a_plugin_with_a_token_that_lasts_is_not_run_again(tmp_path: Path, clock: Clock) -> None:
    user = plugin(tmp_path, f"echo '{credential('lasting', expirationTimestamp='2999-01-01T00:00:00Z')}'")
    access = ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, user))
    Path(user["exec"]["command"]).unlink()
    clock.now += 10 * TOKEN_REFRESH_S
    assert headers(access) == {"Authorization": "Bearer lasting"}


def test_a_token_file_is_read_each_minute(tmp_path: Path, clock: Clock) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    access = ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, {"tokenFile": str(token)}))
    assert headers(access) == {"Authorization": "Bearer one"}
    token.write_text("two\n")
    assert headers(access) == {"Authorization": "Bearer one"}
    clock.now += TOKEN_REFRESH_S
    assert headers(access) == {"Authorization": "Bearer two"}
    token.unlink()
    clock.now += TOKEN_REFRESH_S
    assert headers(access) == {"Authorization": "Bearer two"}


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Path) -> Path:
    """The files and variables of a pod with a service account."""
    (tmp_path / "token").write_text("pod-token\n")
    (tmp_path / "ca.crt").write_text((authority / "ca.crt").read_text())
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr("kubernetes.config.incluster_config.SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "2001:db8::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


def test_in_cluster(pod: Path, clock: Clock) -> None:
    access = ClusterAccess.load(in_cluster=True)
    assert access.server == "https://[2001:db8::1]:443"
    assert access.tls is not None
    assert access.tls.check_hostname
    assert headers(access) == {"Authorization": "bearer pod-token"}
    (pod / "token").write_text("rotated")
    clock.now += TOKEN_REFRESH_S
    assert headers(access) == {"Authorization": "bearer rotated"}
    (pod / "token").write_text("")
    clock.now += TOKEN_REFRESH_S
    assert headers(access) == {"Authorization": "bearer rotated"}


@pytest.mark.parametrize("missing", ["token", "ca.crt", "KUBERNETES_SERVICE_HOST"])
def test_in_cluster_outside_a_pod(pod: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing.isupper():
        monkeypatch.delenv(missing)
    else:
        (pod / missing).unlink()
    with pytest.raises(AccessError, match=r"^in_cluster: .*it needs a pod with a mounted service account"):
        ClusterAccess.load(in_cluster=True)


def test_in_cluster_takes_nothing_else() -> None:
    with pytest.raises(AccessError, match="neither a context nor a kubeconfig"):
        ClusterAccess.load(in_cluster=True, context="fra")


def test_the_words_of_the_cluster_entry(tmp_path: Path, authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://env-proxy:3128")
    cluster = {"server": "https://10.0.0.1:6443", "certificate-authority": str(authority / "ca.crt")}
    assert ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, cluster=cluster)).proxy == "http://env-proxy:3128"
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8")
    assert ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, cluster=cluster)).proxy is None
    cluster |= {"proxy-url": "http://own-proxy:3128", "tls-server-name": "kube", "insecure-skip-tls-verify": True}
    monkeypatch.delenv("NO_PROXY")
    access = ClusterAccess.load(kubeconfig=kubeconfig(tmp_path, cluster=cluster))
    assert (access.proxy, access.tls_server_name) == ("http://own-proxy:3128", "kube")
    assert access.tls is not None
    assert not access.tls.check_hostname


def test_the_entries_of_contexts_are_their_cluster_and_user_and_what_cannot_be_used_has_none(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path)
    assert entries_of(path, ["fra", "nyc", None, "none"]) == {"fra": ("c", "u"), "nyc": ("c2", "u2"), None: ("c", "u")}
    contexts = [{"name": "fra", "context": {"cluster": "c"}}, {"name": "nyc", "context": {"cluster": "c", "user": "none"}}]
    path = kubeconfig(tmp_path, contexts=contexts)
    assert entries_of(path, ["fra", "nyc"]) == {"fra": ("c", "")}
    with pytest.raises(AccessError, match="no such file"):
        entries_of(str(tmp_path / "none"), ["fra"])
