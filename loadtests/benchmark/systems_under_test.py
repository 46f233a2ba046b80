"""The systems that the benchmark compares: the mirror, and on the same host the usual alternatives to it.

All of them are containers of the host's Docker engine, run the host's images, and are published in the same way with
the host's certificate, so that requests to all of them take the same path.
"""

import tempfile
from dataclasses import dataclass

from loadtests.support.fake_upstream import AUTHORITY, NAME, URL, FakeUpstream
from registry_stack.docker.machine import Machine
from registry_stack.images.archive import save_images
from registry_stack.images.service import service_image
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback

FOLDER = "/var/lib/registry-benchmark"
MIRROR, STATIC, PROXY_CACHE = "mirror", "nginx static", "nginx proxy_cache"
PROXY_2, PROXY_3 = "registry 2.8 proxy", "registry 3.x proxy"
# The order of tables and plots.
REPORT_ORDER = (STATIC, MIRROR, PROXY_CACHE, PROXY_3, PROXY_2)
_TLS = "/var/lib/registry/tls"
# The host's CA bundle, which includes the upstream's CA, in place of the image's own.
_TRUST = "/run/registry/ca-bundle.crt:/etc/ssl/certs/ca-certificates.crt:ro"
_CONF_HEAD = """
worker_processes auto;
daemon off;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
# As the edge does: without it, matching a location's pattern takes a sixth of nginx's time for a small file.
pcre_jit on;
worker_rlimit_nofile 16384;
events {{ worker_connections 4096; }}
http {{
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000;
  # As the edge does: log every request.
  access_log /dev/stdout combined buffer=32k flush=300ms;
  ssl_certificate {tls}/server.crt;
  ssl_certificate_key {tls}/server.key;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:tls:4m;
  open_file_cache max=4096 inactive=60s;
"""
_STATIC_CONF = (
    _CONF_HEAD
    + """
  include /srv/oci/images.conf;
  server {{
    listen 8443 ssl;
    http2 on;
    root /srv/oci;
    location = /v2/ {{ default_type application/json; return 200 '{{}}'; }}
    location ~ ^/v2/.+/manifests/ {{
      types {{
        application/vnd.oci.image.index.v1+json index;
        application/vnd.oci.image.manifest.v1+json manifest;
      }}
      add_header Docker-Content-Digest $manifest_digest always;
      try_files $manifest_file =404;
    }}
    location ~ ^/v2/.+/blobs/(?<blob>sha256:[0-9a-f]+)$ {{
      default_type application/octet-stream;
      try_files /blobs/$blob =404;
    }}
  }}
}}
"""
)
_PROXY_CACHE_CONF = (
    _CONF_HEAD
    + """
  proxy_cache_path /var/cache/nginx/images levels=1:2 keys_zone=images:16m max_size=8g inactive=7d use_temp_path=off;
  proxy_temp_path /tmp/proxy;
  upstream origin {{ server {upstream}; keepalive 16; }}
  server {{
    listen 8443 ssl;
    http2 on;
    location /v2/ {{
      proxy_pass https://origin;
      proxy_ssl_name {name};
      proxy_ssl_server_name on;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate /etc/ssl/certs/ca-certificates.crt;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host {upstream};
      proxy_cache images;
      proxy_cache_key $request_method$uri$http_accept;
      proxy_cache_convert_head off;
      proxy_cache_valid 200 60s;
      proxy_cache_lock on;
      proxy_cache_lock_timeout 1h;
      proxy_cache_lock_age 1h;
      proxy_cache_use_stale error timeout updating http_429 http_500 http_502 http_503 http_504;
      proxy_cache_background_update on;
      proxy_read_timeout 15m;
    }}
  }}
}}
"""
)


@dataclass(frozen=True)
class SystemUnderTest:
    """A system at `https://NAME:port`. `caches` tells whether it fetches from the upstream."""

    name: str
    port: int
    version: str
    caches: bool = True


class SystemsUnderTest:
    """Starts all systems on one host, beside the mirror that it already runs."""

    def __init__(self, host: Machine, upstream: FakeUpstream, report: ProgressCallback) -> None:
        self.host, self.upstream, self.report = host, upstream, report
        nginx, registry, proxy = (
            self._image(name) for name in ("docker-registry-edge", "docker-registry", "docker-registry-proxy")
        )
        version = f"{self._version(nginx, 'nginx -v')}, {self._registry_version(proxy)}"
        self.mirror = SystemUnderTest(MIRROR, 443, version)
        self.all = [self.mirror]
        self.static = self._start_static(nginx)
        self._start_proxy_cache(nginx)
        self._start_registry_proxy(registry, PROXY_2, 8446)
        if self._registry_version(proxy).startswith("registry 3"):
            self._start_registry_proxy(proxy, PROXY_3, 8447)

    def add_registry_3(self, reference: str) -> None:
        """Start a bare registry 3.x proxy from an image of the Docker host, unless the host's own proxy is one."""
        if any(system.name == PROXY_3 for system in self.all):
            return
        image = service_image(self.host.client, reference, "registry", self.report)
        for archive in save_images(self.host.client, [image]):
            self.host.put(f"{FOLDER}/{archive.name}", archive)
            self.host.exec(["docker", "load", "--quiet", "--input", f"{FOLDER}/{archive.name}"])
        if self._registry_version(image).startswith("registry 3"):
            self._start_registry_proxy(image, PROXY_3, 8447)

    def stop_others(self) -> None:
        """Stop all systems but the mirror."""
        names = self.host.exec(["docker", "ps", "--quiet", "--filter", "name=bench-"]).out.split()
        self.host.exec(["docker", "rm", "--force", "--volumes", *names])
        self.all = [self.mirror]

    def _image(self, container: str) -> str:
        return self.host.exec(["docker", "inspect", "--format", "{{.Config.Image}}", container]).out.strip()

    def _registry_version(self, image: str) -> str:
        version = self._version(image, "registry --version").split()[-1]
        return f"registry {version.removeprefix('v')}"

    def _version(self, image: str, command: str) -> str:
        program, *arguments = command.split()
        result = self.host.exec(["docker", "run", "--rm", "--entrypoint", program, image, *arguments])
        return (result.out + result.err).strip().removeprefix("nginx version: ")

    def _start_static(self, image: str) -> SystemUnderTest:
        self.report(f"{STATIC}: {image}")
        with tempfile.TemporaryFile() as stream:
            self.upstream.files.write_tar(stream, f"{FOLDER}/oci")
            self.host.container.put_archive("/", stream)
        self._run_nginx("bench-static", image, 8444, _STATIC_CONF.format(tls=_TLS), f"{FOLDER}/oci:/srv/oci:ro")
        return self._add(SystemUnderTest(STATIC, 8444, self._version(image, "nginx -v"), caches=False))

    def _start_proxy_cache(self, image: str) -> None:
        self.report(f"{PROXY_CACHE}: {image}")
        conf = _PROXY_CACHE_CONF.format(tls=_TLS, upstream=AUTHORITY, name=NAME)
        self._run_nginx("bench-proxy-cache", image, 8445, conf, "/var/cache/nginx")
        self._add(SystemUnderTest(PROXY_CACHE, 8445, self._version(image, "nginx -v")))

    def _run_nginx(self, name: str, image: str, port: int, conf: str, volume: str) -> None:
        self.host.put(f"{FOLDER}/{name}.conf", conf.encode())
        volumes = (f"{FOLDER}/{name}.conf:/etc/bench.conf:ro", volume)
        self._run(name, image, port, ("nginx", "-c", "/etc/bench.conf"), *volumes)

    def _start_registry_proxy(self, image: str, name: str, port: int) -> None:
        """Start an image as a proxy with what its documentation requires: a URL and a certificate."""
        self.report(f"{name}: {image}")
        settings = {
            "REGISTRY_PROXY_REMOTEURL": URL,
            "REGISTRY_HTTP_ADDR": ":8443",
            "REGISTRY_HTTP_TLS_CERTIFICATE": f"{_TLS}/server.crt",
            "REGISTRY_HTTP_TLS_KEY": f"{_TLS}/server.key",
            "OTEL_TRACES_EXPORTER": "none",
        }
        self._run(f"bench-registry-{port}", image, port, (), "/var/lib/registry", **settings)
        self._add(SystemUnderTest(name, port, self._registry_version(image)))

    def _run(
        self, name: str, image: str, port: int, command: tuple[str, ...], *volumes: str, **environment: str
    ) -> None:
        options = [f"--volume={volume}" for volume in (f"{_TLS}:{_TLS}:ro", _TRUST, *volumes)]
        options += [f"--env={key}={value}" for key, value in environment.items()]
        options += [f"--publish={port}:8443", f"--name={name}", "--network=docker-registry"]
        self.host.exec(["docker", "run", "--detach", *options, image, *command])

    def _add(self, system: SystemUnderTest) -> SystemUnderTest:
        url = f"https://localhost:{system.port}/v2/"
        self.all.append(system)
        wait_until(lambda: self._probe(url), 30, system.name)
        return system

    def _probe(self, url: str) -> str | None:
        result = self.host.exec(["curl", "-sSkf", "-o", "/dev/null", url], check=False)
        return None if result.code == 0 else result.tail()
