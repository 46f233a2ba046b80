# shellcheck shell=bash
# Sourced by every script in /opt/registry: strict mode, the parameters of this host and the functions below lib/.
set -euo pipefail
# shellcheck source=/dev/null
. /etc/docker-registry/environment
. /opt/registry/lib/paths.sh
. /opt/registry/lib/upstreams.sh
. /opt/registry/lib/quoting.sh
. /opt/registry/lib/heat.sh

warn() { echo "warning: $*" >&2; }
fail() {
  echo "error: $*" >&2
  exit 1
}

# pause SINCE: sleeps four times as long as has passed since $EPOCHREALTIME was SINCE, between 0.3 and 3 s. A poll that
# takes long on a slow host is then repeated less often, which leaves the processors to the services it waits for.
pause() {
  local us=$((4 * (${EPOCHREALTIME/[.,]/} - ${1/[.,]/})))
  printf -v us %07d $((us < 300000 ? 300000 : us > 3000000 ? 3000000 : us))
  sleep "${us%??????}.${us: -6}"
}
