# shellcheck shell=bash disable=SC2034
# Where things are on this host.

STATE=/var/lib/registry # must survive this host; docs/operations.md lists its contents
RUN=/run/registry
CERTS=/home/root/registry_certs
# What the scripts called render-* write; registry-apply has them write elsewhere first.
RENDERED=${RENDERED:-$RUN}
CA_BUNDLE=$RENDERED/ca-bundle.crt
CONTAINER_USER=65532:65532 # no container runs as root
FQDN=$HOST_NAME${HOST_DOMAIN:+.$HOST_DOMAIN}
# <group>
# The name that all members have besides.
SHARED_FQDN=${SHARED_HOSTNAME:+$SHARED_HOSTNAME${HOST_DOMAIN:+.$HOST_DOMAIN}}
# </group>

# store_dir NAME, socket_path NAME: the cache and the socket of the proxy of an upstream.
store_dir() { if [[ $1 == default ]]; then echo "$STATE/proxy"; else echo "$STATE/proxies/$1"; fi; }
socket_path() { if [[ $1 == default ]]; then echo "$RUN/sockets/proxy.sock"; else echo "$RUN/sockets/proxy-$1.sock"; fi; }
