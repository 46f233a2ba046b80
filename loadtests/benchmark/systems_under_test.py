"""What is compared: our edge, and beside it in the same host what else one would deploy, each behind the same TLS.

All of them are containers of the host's own Docker, published in the same way, with the host's own certificate; so a
request to any of them takes the same way. They run the very images that the host runs.
"""

import tarfile
import tempfile
from dataclasses import dataclass
from io import BytesIO

from loadtests.support.fake_upstream import AUTHORITY, NAME, URL, FakeUpstream
from registry_stack.docker.machine import Machine
from registry_stack.images.archive import save_images
from registry_stack.images.service import service_image
from registry_stack.polling import wait_until
from registry_stack.progress import ProgressCallback

FOLDER = "/var/lib/registry-benchmark"
EDGE, STATIC, PROXY_2, PROXY_3, PLAIN = "edge", "nginx static", "proxy 2.8", "proxy 3.x", "nginx proxy_cache"
_TLS = "/var/lib/registry/tls"
# With the upstream's, in the place of an image's own, as the host's services have it.
_TRUST = "/run/registry/ca-bundle.crt:/etc/ssl/certs/ca-certificates.crt:ro"
_HEAD = """
worker_processes auto;
daemon off;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
# As the edge does: without it a location's pattern is a sixth of what nginx itself does for a small file.
pcre_jit on;
worker_rlimit_nofile 16384;
events {{ worker_connections 4096; }}
http {{
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000;
  # As the edge does: every request is logged.
  access_log /dev/stdout combined buffer=32k flush=300ms;
  ssl_certificate {tls}/server.crt;
  ssl_certificate_key {tls}/server.key;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:tls:4m;
  open_file_cache max=4096 inactive=60s;
"""
_STATIC = (
    _HEAD
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
_PLAIN = (
    _HEAD
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
class Contender:
    """One of them, at `https://NAME:port`; `caches`: it fetches from the upstream."""

    name: str
    port: int
    version: str
    caches: bool = True


class Contenders:
    """All of them on one host; the edge is there already."""

    def __init__(self, host: Machine, standin: FakeUpstream, report: ProgressCallback) -> None:
        self.host, self.standin, self.report = host, standin, report
        nginx, registry, proxy = (
            self._image(name) for name in ("docker-registry-edge", "docker-registry", "docker-registry-proxy")
        )
        self.nginx = nginx
        self.all = [Contender(EDGE, 443, f"{self._version(nginx, 'nginx -v')}, {self._registry(proxy)}")]
        self._start_static(nginx)
        self._start_plain(nginx)
        self._start_registry(registry, PROXY_2, 8446)
        if self._registry(proxy).startswith("registry 3"):
            self._start_registry(proxy, PROXY_3, 8447)

    def add_registry_3(self, reference: str) -> None:
        """Another image for the bare proxy 3.x, by its reference outside."""
        if any(one.name == PROXY_3 for one in self.all):
            return
        image = service_image(self.host.client, reference, "registry", self.report)
        for archive in save_images(self.host.client, [image]):
            self.host.put(f"{FOLDER}/{archive.name}", archive)
            self.host.exec(["docker", "load", "--quiet", "--input", f"{FOLDER}/{archive.name}"])
        if self._registry(image).startswith("registry 3"):
            self._start_registry(image, PROXY_3, 8447)

    def stop_others(self) -> None:
        """Leave the edge alone on the host."""
        names = self.host.exec(["docker", "ps", "--quiet", "--filter", "name=bench-"]).out.split()
        self.host.exec(["docker", "rm", "--force", "--volumes", *names])
        self.all = self.all[:1]

    def _image(self, container: str) -> str:
        return self.host.exec(["docker", "inspect", "--format", "{{.Config.Image}}", container]).out.strip()

    def _registry(self, image: str) -> str:
        found = self._version(image, "registry --version")
        return f"registry {found.split()[-1].removeprefix('v')}"

    def _version(self, image: str, command: str) -> str:
        program, *arguments = command.split()
        result = self.host.exec(["docker", "run", "--rm", "--entrypoint", program, image, *arguments])
        return (result.out + result.err).strip().removeprefix("nginx version: ")

    def _copy_images(self) -> None:
        with tempfile.TemporaryFile() as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                for path, content in self.standin.tree.files():
                    member = tarfile.TarInfo(f"{FOLDER}/oci/{path}".lstrip("/"))
                    member.size = len(content)
                    tar.addfile(member, BytesIO(content))
            stream.seek(0)
            self.host.container.put_archive("/", stream)

    def _start_static(self, image: str) -> None:
        self.report(f"{STATIC}: {image}")
        self._copy_images()
        self._nginx("bench-static", image, 8444, _STATIC.format(tls=_TLS), f"{FOLDER}/oci:/srv/oci:ro")
        self._add(Contender(STATIC, 8444, self._version(image, "nginx -v"), caches=False))

    def _start_plain(self, image: str) -> None:
        self.report(f"{PLAIN}: {image}")
        conf = _PLAIN.format(tls=_TLS, upstream=AUTHORITY, name=NAME)
        self._nginx("bench-plain", image, 8445, conf, "/var/cache/nginx")
        self._add(Contender(PLAIN, 8445, self._version(image, "nginx -v")))

    def _nginx(self, name: str, image: str, port: int, conf: str, volume: str) -> None:
        self.host.put(f"{FOLDER}/{name}.conf", conf.encode())
        self._run(
            name, image, port, ("nginx", "-c", "/etc/bench.conf"), f"{FOLDER}/{name}.conf:/etc/bench.conf:ro", volume
        )

    def _start_registry(self, image: str, name: str, port: int) -> None:
        """The image as it is, made a proxy as its documentation says: a URL, a certificate, nothing else."""
        self.report(f"{name}: {image}")
        settings = {
            "REGISTRY_PROXY_REMOTEURL": URL,
            "REGISTRY_HTTP_ADDR": ":8443",
            "REGISTRY_HTTP_TLS_CERTIFICATE": f"{_TLS}/server.crt",
            "REGISTRY_HTTP_TLS_KEY": f"{_TLS}/server.key",
            "OTEL_TRACES_EXPORTER": "none",
        }
        self._run(f"bench-registry-{port}", image, port, (), "/var/lib/registry", **settings)
        self._add(Contender(name, port, self._registry(image)))

    def _run(
        self, name: str, image: str, port: int, command: tuple[str, ...], *volumes: str, **environment: str
    ) -> None:
        options = [f"--volume={volume}" for volume in (f"{_TLS}:{_TLS}:ro", _TRUST, *volumes)]
        options += [f"--env={key}={value}" for key, value in environment.items()]
        options += [f"--publish={port}:8443", f"--name={name}", "--network=docker-registry"]
        self.host.exec(["docker", "run", "--detach", *options, image, *command])

    def _add(self, contender: Contender) -> None:
        url = f"https://localhost:{contender.port}/v2/"
        self.all.append(contender)
        wait_until(lambda: self._answers(url), 30, contender.name)

    def _answers(self, url: str) -> str | None:
        result = self.host.exec(["curl", "-sSkf", "-o", "/dev/null", url], check=False)
        return None if result.code == 0 else result.tail()
