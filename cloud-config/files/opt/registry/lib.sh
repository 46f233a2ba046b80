# shellcheck shell=bash
# Sourced by every script in /opt/registry: strict mode, the parameters of this host and the functions below lib/.
set -euo pipefail
. /opt/registry/lib/settings.sh
. /opt/registry/lib/paths.sh
. /opt/registry/lib/upstreams.sh
. /opt/registry/lib/certificates.sh
. /opt/registry/lib/quoting.sh
. /opt/registry/lib/heat.sh

warn() { echo "warning: $*" >&2; }
fail() {
  echo "error: $*" >&2
  exit 1
}

# have_image IMAGE: pulls it unless it is here.
have_image() {
  docker image inspect "$1" > /dev/null 2>&1 || docker pull --quiet "$1" > /dev/null \
    || fail "image $1 cannot be pulled: check the parameter and whether this host reaches its registry"
}

# put_in_place FILE…: what has been rendered as FILE.new becomes FILE, for the containers to read.
put_in_place() {
  local file
  for file in "$@"; do
    chown "$CONTAINER_USER" "$file.new"
    mv "$file.new" "$file"
  done
}

# last_error: of a log on standard input, the last line in which one of the host's scripts or programs reports an error.
# What docker says after it has said why a container does not start is not that.
last_error() {
  grep -E '^error: |panic: |level=(error|fatal)|\[emerg\]|onfiguration error|Fatal|^docker: ' \
    | grep -v 'waiting for container' | tail -n 1 | sed 's/^error: //' | tr -d '[:cntrl:]' | cut -c 1-500
}

# pause SINCE: sleeps four times as long as has passed since $EPOCHREALTIME was SINCE, between 0.3 and 3 s. A poll that
# takes long on a slow host is then repeated less often, which leaves the processors to the services it waits for.
pause() {
  local us=$((4 * (${EPOCHREALTIME/[.,]/} - ${1/[.,]/})))
  printf -v us %07d $((us < 300000 ? 300000 : us > 3000000 ? 3000000 : us))
  sleep "${us%??????}.${us: -6}"
}

# Not in docker-host.yaml, which has no room for what only a group needs.
[[ -z $GROUP_MEMBERS ]] || . /opt/registry/lib/group.sh || fail "group_members needs settings_transport=heat"
