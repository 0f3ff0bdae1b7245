"""Configurations of the proxies and of the backend, and the arguments each is started with. Must not know what is measured.

All do the same for a request: match its host, add the forwarded fields, pass on the ids that the hop in front gave it, choose one of
two endpoints over pooled connections. /record goes to a recorder of the bench. Each is one worker, with idle times and buffers that
suit the load, as its own documentation advises (HAProxy twice: small buffers and splice, and large buffers); Isochrone has everything on
but the access log: six PoPs, a city database, a location for each request behind a trusted hop, probes, retries, metrics.
"""

from __future__ import annotations

import importlib.metadata
import os
import resource
from dataclasses import dataclass
from pathlib import Path

HOST = "shop.example.com"
SMALL_BYTES = 128
LARGE_BYTES = 1 << 20


@dataclass(frozen=True)
class Site:
    """One run's folder, ports and CPUs."""

    folder: Path
    ports: dict[str, int]  # by name of proxy; also "backend", "backend-2", "recorder", and "isochrone-admin"
    proxy_cpus: str  # as taskset writes them
    load_cpus: str

    @property
    def backends(self) -> tuple[str, str]:
        return f"127.0.0.1:{self.ports['backend']}", f"127.0.0.1:{self.ports['backend-2']}"

    @property
    def recorder(self) -> str:
        return f"127.0.0.1:{self.ports['recorder']}"


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
    listen {backends[0]} backlog=4096; listen {backends[1]} backlog=4096;
    location / {{ return 200 "{small}"; }}
    location = /1m {{ root {folder}; }}
  }}
"""

NGINX_PROXY = """
  upstream shop {{ server {backends[0]}; server {backends[1]}; keepalive 512; keepalive_requests 1000000000; }}
  upstream recorder {{ server {recorder}; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $host; proxy_set_header Via "1.1 nginx";
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
  {buffers}
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout http-request 10s
  timeout http-keep-alive 75s
  timeout server 60s
  option http-keep-alive
  {splice}
  http-reuse always
frontend web
  bind 127.0.0.1:{port} backlog 4096
  http-request set-header x-forwarded-for "%[req.hdr(x-forwarded-for)], %[src]"
  http-request set-header x-forwarded-proto http
  http-request set-header x-forwarded-host %[req.hdr(host)]
  http-request set-header via "1.1 haproxy"
  use_backend recorder if {{ path /record }}
  use_backend shop if {{ hdr(host) -i {host} }}
backend shop
  option httpchk GET /healthz
  balance leastconn
  server one {backends[0]} check inter 10s
  server two {backends[1]} check inter 10s
backend recorder
  server one {recorder}
"""

# Idle times as the others; no access log. The fields of its own that it would add are left out.
ENVOY = """
static_resources:
  listeners:
    - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
      tcp_backlog_size: 4096
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: web
                use_remote_address: true
                xff_num_trusted_hops: 1
                preserve_external_request_id: true
                via: 1.1 envoy
                route_config:
                  request_headers_to_remove: [x-envoy-external-address, x-envoy-internal]
                  virtual_hosts:
                    - name: shop
                      domains: [{host}]
                      request_headers_to_add:
                        - {{header: {{key: x-forwarded-host, value: "%REQ(:authority)%"}}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}}
                      routes:
                        - {{match: {{path: /record}}, route: {{cluster: recorder}}}}
                        - {{match: {{prefix: /}}, route: {{cluster: shop}}}}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                      suppress_envoy_headers: true
  clusters:
    - name: shop
      type: STATIC
      connect_timeout: 2s
      lb_policy: LEAST_REQUEST
      circuit_breakers: {{thresholds: [{{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}]}}
      health_checks: [{{timeout: 1s, interval: 10s, unhealthy_threshold: 3, healthy_threshold: 1, http_health_check: {{path: /healthz}}}}]
      load_assignment:
        cluster_name: shop
        endpoints:
          - lb_endpoints:
              - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend_ports[0]}}}}}}}
              - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend_ports[1]}}}}}}}
    - name: recorder
      type: STATIC
      load_assignment:
        cluster_name: recorder
        endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {recorder_port}}}}}}}}}]}}]
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


def descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def nginx(site: Site, name: str, servers: str) -> list[str]:
    """Arguments for an nginx."""
    (site.folder / f"{name}.temp").mkdir(exist_ok=True)
    path = site.folder / f"{name}.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # the folder is this user's alone
    path.write_text(NGINX.format(folder=site.folder, name=name, servers=servers, user=user, descriptors=descriptors()))
    return ["-e", str(site.folder / f"{name}.error"), "-c", str(path)]


def backend(site: Site) -> list[str]:
    """One nginx with fixed answers at two addresses: 128 bytes everywhere, 1 MiB at /1m."""
    (site.folder / "1m").write_bytes(bytes(range(256)) * (LARGE_BYTES // 256))
    return nginx(site, "backend", BACKEND.format(backends=site.backends, small="x" * SMALL_BYTES, folder=site.folder))


def nginx_proxy(site: Site, name: str) -> list[str]:
    text = NGINX_PROXY.format(port=site.ports[name], backends=site.backends, recorder=site.recorder, host=HOST)
    return nginx(site, name, text)


def haproxy(site: Site, name: str) -> list[str]:
    path = site.folder / f"{name}.cfg"
    maxconn = min(16384, (descriptors() - 100) // 3)  # two each, and pipes
    is_large = name == "haproxy-64k"
    path.write_text(
        HAPROXY.format(
            port=site.ports[name],
            backends=site.backends,
            recorder=site.recorder,
            host=HOST,
            maxconn=maxconn,
            buffers="tune.bufsize 65536" if is_large else "",
            splice="" if is_large else "option splice-auto",
        )
    )
    return ["-db", "-f", str(path)]


def envoy(site: Site, name: str) -> list[str]:
    path = site.folder / f"{name}.yaml"
    path.write_text(
        ENVOY.format(
            port=site.ports[name],
            recorder_port=site.recorder.rpartition(":")[2],
            backend_ports=[backend.rpartition(":")[2] for backend in site.backends],
            host=HOST,
        )
    )
    return ["-c", str(path), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


def aiohttp(site: Site, name: str) -> list[str]:
    return ["-m", "bench.proxy.aiohttp_proxy", *(str(site.ports[each]) for each in (name, "backend", "backend-2", "recorder"))]


def isochrone(site: Site, name: str, workers: int = 1) -> list[str]:
    path = site.folder / f"{name}.yaml"
    pops = "\n".join(f"  - {{name: {pop}, lat: {lat}, lon: {lon}, country: {country}}}" for pop, lat, lon, country in POPS)
    addresses = ", ".join(f'"{backend}"' for backend in site.backends)
    backends = "\n".join(f"      - {{pop: {pop[0]}, endpoints: [{addresses}]}}" for pop in POPS)
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
    return ["-m", "gateway", "serve", "-c", str(path)]


def city_database() -> Path | None:
    """The one of the development extra; without it every client is at the override's place."""
    try:
        found = importlib.metadata.distribution("maxminddb-geolite2").locate_file("_maxminddb_geolite2/GeoLite2-City.mmdb")
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(found))
