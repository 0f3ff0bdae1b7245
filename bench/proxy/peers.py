"""The proxies and the backend: their configurations, how each is started, its version. Must not know what is measured.

All do the same for a request: match its host, add the six forwarded headers, pass it on over a pooled connection. /record goes
to a recorder of the bench. Each is one worker, with idle times and buffers that suit the load; Isochrone has everything on but the
access log: six PoPs, a city database, a location for each request behind a trusted hop, probes, retries, metrics.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "shop.example.com"
SMALL_BYTES = 128
LARGE_BYTES = 1 << 20
START_S = 20.0
STOP_S = 10.0


@dataclass(frozen=True)
class Site:
    """One run's folder, ports and CPUs."""

    folder: Path
    ports: dict[str, int]  # by name of proxy; also "backend", "recorder", "admin"
    proxy_cpus: str  # as taskset writes them
    load_cpus: str

    @property
    def backend(self) -> str:
        return f"127.0.0.1:{self.ports['backend']}"

    @property
    def recorder(self) -> str:
        return f"127.0.0.1:{self.ports['recorder']}"


class Running:
    """A process that was started here, with its children. It gets SIGTERM when this one dies."""

    def __init__(self, name: str, command: Sequence[str], cpus: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", cpus, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def pids(self) -> list[int]:
        """Of the process and all below it."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):  # it ended meanwhile
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        found = [self.process.pid]
        for pid in found:
            found += (child for child, parent in parents.items() if parent == pid)
        return found

    def wait_answer(self, port: int) -> None:
        """Until it answers a request with 200."""
        end = time.monotonic() + START_S
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("GET", "/", headers={"Host": HOST})
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            finally:
                connection.close()
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"bench/proxy: {self.name} does not serve:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# --- Configurations ---

NGINX = """
worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.error; {user}
worker_rlimit_nofile {descriptors};
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 75s; default_type text/plain; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/{name}.temp; proxy_temp_path {folder}/{name}.temp; fastcgi_temp_path {folder}/{name}.temp;
  uwsgi_temp_path {folder}/{name}.temp; scgi_temp_path {folder}/{name}.temp;
{servers}
}}
"""

BACKEND = """
  open_file_cache max=10; open_file_cache_valid 1h;
  server {{
    listen {backend} backlog=4096;
    location / {{ return 200 "{small}"; }}
    location = /1m {{ root {folder}; }}
  }}
"""

# The trace's span is a constant: to make one would cost nginx more than the others (no bytes at random in its language).
NGINX_PROXY = """
  upstream shop {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}
  upstream recorder {{ server {recorder}; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Request-ID $request_id; proxy_set_header Via "1.1 nginx";
  proxy_set_header Traceparent "00-$request_id-00f067aa0ba902b7-00";
  proxy_buffer_size 16k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;
  server {{ listen 127.0.0.1:{port} backlog=4096 default_server; return 404; }}
  server {{
    listen 127.0.0.1:{port}; server_name {host};
    location / {{ proxy_pass http://shop; }}
    location = /record {{ proxy_pass http://recorder; }}
  }}
"""

HAPROXY = """
global
  maxconn {maxconn}
  nbthread 1
  tune.bufsize 65536
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout http-request 10s
  timeout http-keep-alive 75s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend web
  bind 127.0.0.1:{port} backlog 4096
  unique-id-format %[uuid()]
  http-request set-header x-forwarded-for "%[req.hdr(x-forwarded-for)], %[src]"
  http-request set-header x-forwarded-proto http
  http-request set-header x-forwarded-host %[req.hdr(host)]
  http-request set-header x-request-id %[unique-id]
  http-request set-header traceparent 00-%[rand,hex]%[rand,hex]-%[rand,hex]-00
  http-request set-header via "1.1 haproxy"
  use_backend recorder if {{ path /record }}
  use_backend shop if {{ hdr(host) -i {host} }}
backend shop
  option httpchk GET /healthz
  server one {backend} check inter 10s
backend recorder
  server one {recorder}
"""

POPS = (
    ("fra", 50.11, 8.68, "DE"),
    ("iad", 38.95, -77.45, "US"),
    ("gru", -23.43, -46.47, "BR"),
    ("sin", 1.35, 103.82, "SG"),
    ("nrt", 35.77, 140.39, "JP"),
    ("jnb", -26.2, 28.05, "ZA"),
)

ISOCHRONE = """
gateway: {{name: isochrone, location: {{lat: 50.11, lon: 8.68}}, workers: {workers}}}
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
client_ip: {{trusted_proxies: [127.0.0.0/8]}}
geoip: {{{databases}overrides: [{{prefix: 127.0.0.0/8, lat: 50.11, lon: 8.68, country: DE}}]}}
pops:
{pops}
services:
  - name: shop
    health: {{path: /healthz}}
    backends:
{backends}
  - name: recorder
    health: {{type: tcp}}
    backends: [{{pop: fra, endpoints: ["{recorder}"]}}]
routes:
  - {{name: recorder, match: {{hosts: [{host}], path_exact: /record}}, service: recorder}}
  - {{name: shop, match: {{hosts: [{host}], path_prefix: /}}, service: shop}}
  - {{name: others, match: {{hosts: ["*.example.com"]}}, service: shop, steering: {{jurisdiction: {{continents: [EU]}}}}}}
admin: {{bind: "127.0.0.1:{admin}"}}
drain: {{lameduck: 0s, deadline: 1s}}
"""


def nginx(site: Site, name: str, servers: str) -> list[str]:
    (site.folder / f"{name}.temp").mkdir(exist_ok=True)
    path = site.folder / f"{name}.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # the folder is this user's alone
    path.write_text(NGINX.format(folder=site.folder, name=name, servers=servers, user=user, descriptors=descriptors()))
    return [program("nginx"), "-e", str(site.folder / f"{name}.error"), "-c", str(path)]


def backend_command(site: Site) -> list[str]:
    """One nginx with fixed answers: 128 bytes everywhere, 1 MiB at /1m."""
    (site.folder / "1m").write_bytes(bytes(range(256)) * (LARGE_BYTES // 256))
    return nginx(site, "backend", BACKEND.format(backend=site.backend, small="x" * SMALL_BYTES, folder=site.folder))


def nginx_command(site: Site) -> list[str]:
    text = NGINX_PROXY.format(port=site.ports["nginx"], backend=site.backend, recorder=site.recorder, host=HOST)
    return nginx(site, "nginx", text)


def haproxy_command(site: Site) -> list[str]:
    path = site.folder / "haproxy.cfg"
    maxconn = min(16384, (descriptors() - 100) // 3)  # two each, and pipes
    path.write_text(HAPROXY.format(port=site.ports["haproxy"], backend=site.backend, recorder=site.recorder, host=HOST, maxconn=maxconn))
    return [program("haproxy"), "-db", "-f", str(path)]


def aiohttp_command(site: Site) -> list[str]:
    ports = (site.ports[name] for name in ("aiohttp", "backend", "recorder"))
    return [sys.executable, "-m", "bench.proxy.aiohttp_proxy", *map(str, ports)]


def isochrone_command(site: Site, name: str = "isochrone", workers: int = 1) -> list[str]:
    path = site.folder / f"{name}.yaml"
    pops = "\n".join(f"  - {{name: {pop}, lat: {lat}, lon: {lon}, country: {country}}}" for pop, lat, lon, country in POPS)
    backends = "\n".join(f'      - {{pop: {pop[0]}, endpoints: ["{site.backend}"]}}' for pop in POPS)
    city = city_database()
    path.write_text(
        ISOCHRONE.format(
            port=site.ports[name],
            admin=site.ports[f"{name}-admin"],
            recorder=site.recorder,
            host=HOST,
            workers=workers,
            pops=pops,
            backends=backends,
            databases=f"city: {city}, " if city else "",
        )
    )
    return [sys.executable, "-m", "gateway", "serve", "-c", str(path)]


def city_database() -> Path | None:
    """The one of the development extra; without it every client is at the override's place."""
    try:
        found = importlib.metadata.distribution("maxminddb-geolite2").locate_file("_maxminddb_geolite2/GeoLite2-City.mmdb")
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(found))


# --- The list ---

COMMANDS: dict[str, Callable[[Site], list[str]]] = {
    "nginx": nginx_command,
    "haproxy": haproxy_command,
    "aiohttp": aiohttp_command,
    "isochrone": isochrone_command,
}


def program(name: str) -> str:
    """Also where Debian puts daemons, which is not on everyone's path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin") or ""


def missing() -> list[str]:
    return [name for name in ("nginx", "haproxy", "wrk", "taskset", "setpriv") if not program(name)]


def descriptors() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def first_line(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True)
    return (ran.stdout or ran.stderr).splitlines()[0].strip()


def versions(names: Sequence[str]) -> dict[str, str]:
    packages = {name: importlib.metadata.version(name) for name in ("aiohttp", "uvloop", "isochrone", "Cython")}
    found = {"wrk": first_line("wrk", "-v").split(" [")[0], "python": sys.version.split()[0], "kernel": os.uname().release}
    if "nginx" in names:
        found["nginx"] = first_line(program("nginx"), "-v").rpartition("/")[2]
    if "haproxy" in names:
        found["haproxy"] = first_line(program("haproxy"), "-v").split(" - ")[0].removeprefix("HAProxy version ")
    return found | packages


@contextlib.contextmanager
def started(site: Site, names: Sequence[str]) -> Iterator[dict[str, Running]]:
    """The backend and the named proxies, serving; gone afterwards."""
    running: dict[str, Running] = {}
    try:
        running["backend"] = Running("backend", backend_command(site), site.load_cpus, site.folder)
        running["backend"].wait_answer(site.ports["backend"])
        for name in names:
            running[name] = Running(name, COMMANDS[name](site), site.proxy_cpus, site.folder)
        for name in names:
            running[name].wait_answer(site.ports[name])
        yield running
    finally:
        for one in reversed(running.values()):
            one.stop()
