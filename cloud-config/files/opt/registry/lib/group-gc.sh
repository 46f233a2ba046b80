# shellcheck shell=bash
# How registry-gc has a whole group refuse writes: each member gives it a lease, which ends by itself 40 s after it was last
# asked for (edge/lease.js). It asks every few seconds, and ends its collection when one is not renewed.

readonly LEASE="/lease?holder=$GROUP_MEMBER"
keeper=''

# The timer is that of one member; whoever starts registry-gc by hand may do so on any.
[[ -z ${TRIGGER_UNIT:-} || $GROUP_MEMBER == 0 ]] || exit 0

# ask_members PATH [curl options]: asks each member, for a few seconds in all.
ask_members() {
  local address until=$((SECONDS + 3))
  while read -r _ address; do
    ((SECONDS <= until)) && ask_member "$address" "$@" || return 1
  done < <(members)
}
# These replace those of a single host.
registry_metrics() { ask_members /registry-metrics; }
idle_seconds() { ask_members /lease | sort -n | head -n 1; }

# Ends this script and what it runs, at most 27 s after the first lease was renewed last: the storage still has time to carry
# out the last deletion.
keep_leases() {
  while sleep 3 && kill -0 $$ && ask_members "$LEASE" -X PUT > /dev/null; do :; done
  echo "error: a member does not renew its lease: the collection ends" >&2
  while kill $$; do
    docker rm --force docker-registry-gc || true
    sleep 1
  done > /dev/null 2>&1
}
refuse_writes() {
  if ! ask_members "$LEASE" -X PUT > /dev/null; then
    give_back_leases
    ((SECONDS < PATIENCE)) || fail "a member of the group does not answer, or refuses writes for another: nothing was collected"
    return 1
  fi
  keep_leases &
  keeper=$!
}
accept_writes() {
  rm -rf "$PUSHING"
  [[ -n $keeper ]] || return 0
  kill "$keeper" || true
  keeper=''
  give_back_leases
}
give_back_leases() {
  local address
  while read -r _ address; do ask_member "$address" "$LEASE" -X DELETE > /dev/null || true; done < <(members)
}
