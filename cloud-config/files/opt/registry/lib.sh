# shellcheck shell=bash disable=SC2034
# Sourced by every script in /opt/registry.
set -euo pipefail
# shellcheck source=/dev/null
. /etc/docker-registry/environment

STATE=/var/lib/registry          # what must survive this host: docs/operations.md lists it
RUN=/run/registry
CERTS=/home/root/registry_certs
CA_BUNDLE=$RUN/ca-bundle.crt
CONTAINER_USER=65532:65532              # no container runs as root
FQDN=$HOST_NAME${HOST_DOMAIN:+.$HOST_DOMAIN}

# The upstreams, one a line: NAME URL HOST PORT, the port being the edge's on the way out. "default" is the one
# that :443 mirrors when a request names none.
upstreams() {
  local entry url host port=8080
  for entry in "default=$UPSTREAM_URL" ${UPSTREAMS//,/ }; do
    url=${entry#*=} url=${url%/} host=${url#*://}
    echo "${entry%%=*} $url ${host%%/*} $port"
    port=$((port + 1))
  done
}
# NAME HOST: the names of this host that stand for an upstream.
names_of_upstreams() {
  local name host
  upstreams | tail -n +2 | while read -r name _; do
    for host in "$FQDN" "$HOST_NAME" localhost; do echo "$name $name.$host"; done
  done | sort -u
}
# USER:PASSWORD at the upstream $1, or nothing.
upstream_credentials() {
  local entry entries
  if [[ $1 == default ]]; then echo "${UPSTREAM_USERNAME:+$UPSTREAM_USERNAME:$UPSTREAM_PASSWORD}"; return; fi
  IFS=, read -ra entries <<< "$UPSTREAM_CREDENTIALS"
  for entry in "${entries[@]}"; do
    [[ $entry != "$1="* ]] || echo "${entry#*=}"
  done
}
# Each stands once in nginx's maps.
check_upstreams() {
  local twice
  twice=$(upstreams | cut -d' ' -f1 | sort | uniq -d)
  [[ -z $twice ]] || fail "upstreams: $twice is there twice, or a name that cannot be used"
  twice=$(upstreams | cut -d' ' -f3 | sort | uniq -d)
  [[ -z $twice ]] || fail "upstreams: $twice is there twice: one of the two could never be reached by ns="
}
store() { if [[ $1 == default ]]; then echo "$STATE/proxy"; else echo "$STATE/proxies/$1"; fi; }
socket() { if [[ $1 == default ]]; then echo "$RUN/sockets/proxy.sock"; else echo "$RUN/sockets/proxy-$1.sock"; fi; }

# Sleeps 4 times as long as it is since $1: asking leaves a slow host its processors.
pause() {
  local us=$((4 * (${EPOCHREALTIME/[.,]/} - ${1/[.,]/})))
  printf -v us %07d $((us < 300000 ? 300000 : us > 3000000 ? 3000000 : us))
  sleep "${us%??????}.${us: -6}"
}

warn() { echo "warning: $*" >&2; }
fail() { echo "error: $*" >&2; exit 1; }

# "$1" as a YAML scalar that is a string whatever it looks like.
yaml_string() { printf "'%s'" "${1//\'/\'\'}"; }

# "$1" as a JSON string.
json_string() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//$'\n'/\\n}"
}

# $1 as a value in a curl config file (curl -K -), which keeps secrets out of the process list.
curl_string() { local text=${1//\\/\\\\}; printf '"%s"' "${text//\"/\\\"}"; }

# Tells Heat that this host works or why it does not: signal SUCCESS|FAILURE REASON DATA
signal() {
  [[ -n $SIGNAL_URL ]] || return 0
  local trust=()
  [[ ! -e $CA_BUNDLE ]] || trust=(--cacert "$CA_BUNDLE")
  {
    echo "url = $(curl_string "$SIGNAL_URL")"
    echo "header = $(curl_string "X-Auth-Token: $SIGNAL_TOKEN")"
    echo 'header = "Content-Type: application/json"'
    echo "data = $(curl_string "{\"status\":\"$1\",\"reason\":$(json_string "$2"),\"id\":\"ca\",\"data\":$(json_string "$3")}")"
  } | curl --silent --show-error --fail --output /dev/null --max-time 60 --retry 5 --retry-delay 5 \
        --retry-connrefused "${trust[@]}" --config - \
    || warn "Heat could not be signalled"
}
