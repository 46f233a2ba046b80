# shellcheck shell=bash disable=SC2034
# The group of hosts that this one is a member of; sourced where GROUP_MEMBERS is set. Members ask each other over TLS: the
# server is verified by the group's CA and the name that all share, and whoever asks proves to be a member by a header.

# Options of the edge's container: a member that is lost halfway through a blob is given up after 25 s.
GROUP_OPTIONS="--sysctl net.ipv4.tcp_keepalive_time=10 --sysctl net.ipv4.tcp_keepalive_intvl=5 --sysctl net.ipv4.tcp_keepalive_probes=3"

# One line per member: NUMBER ADDRESS.
members() { tr , '\n' <<< "$GROUP_MEMBERS" | awk '{ print NR - 1, $1 }'; }

# group_key PURPOSE: what only members can derive. The secret itself is on no command line.
group_key() { printf '%s\n' "$GROUP_SECRET" "$1" | sha256sum | cut -d ' ' -f 1; }

# ask_member ADDRESS PATH [curl options]
ask_member() {
  printf 'header = "%s"\n' "Host: member" "X-Member: $(group_key member)" \
    | curl -sf -m 3 --config - --cacert "$RUN/edge/group-ca.crt" --connect-to "::$1:443" "${@:3}" "https://$SHARED_FQDN$2"
}

# The part of the edge's configuration that is about the group. Who answers for a cold blob is the member that its digest
# belongs to, by names that are the same on all of them; while it does not answer, the next one.
group_conf() {
  local proof number address
  [[ -n $GROUP_SECRET && -n $SHARED_FQDN && -n $CA_CERTIFICATE ]] \
    || fail "group_members: a group needs group_secret, shared_hostname and ca_certificate as well"
  # The edge's network has no IPv6.
  [[ $GROUP_MEMBERS =~ ^[A-Za-z0-9.,-]+$ ]] || fail "group_members: write IPv4 addresses or names, separated by commas"
  members | grep "^$GROUP_MEMBER " > /dev/null \
    || fail "group_member is '$GROUP_MEMBER': it must be the number of this host in group_members, from 0"
  base64 -d <<< "$CA_CERTIFICATE" > "$RENDERED/edge/group-ca.crt.new"
  echo "listen unix:/tmp/member-$GROUP_MEMBER.sock;" > "$RENDERED/edge/cold-listen.conf.new"
  put_in_place "$RENDERED"/edge/{group-ca.crt,cold-listen.conf}
  proof=$(group_key member)
  echo "map '' \$proof { default $proof; }"
  echo "map \$http_x_member \$is_member { $proof 1; }"
  echo "upstream cold {"
  echo "  zone cold 64k;"
  echo "  hash \$digest consistent;"
  members | sed 's,\([0-9]*\).*,  server unix:/tmp/member-\1.sock;,'
  echo "}"
  members | while read -r number address; do
    [[ $number != "$GROUP_MEMBER" ]] || continue
    echo "server {"
    echo "  listen unix:/tmp/member-$number.sock;"
    echo "  set \$member '$address';"
    echo "  proxy_ssl_name $SHARED_FQDN;"
    echo "  include /etc/docker-registry/edge/to-member.conf;"
    echo "}"
  done
  echo "include /etc/docker-registry/edge/member.conf;"
}

# For registry-metrics and the status page; `members` has a line for each: NUMBER ADDRESS UP BYTES.
group_metrics() {
  local number address bytes
  members | while read -r number address; do
    bytes=$(ask_member "$address" /cache-bytes | awk '{ n += $2 } END { printf "%.0f", n }') || bytes=
    echo "$number $address ${bytes:+1 }${bytes:-0 0}"
  done > "$OUT/members"
  if [[ -n $GROUP_VIP ]]; then
    echo "$GROUP_VIP $(ip -o address | grep -cF " $GROUP_VIP/")" \
      | gauges registry_group_vip_held address "Whether this host has the address that moves in the group."
  fi
  cut -d ' ' -f 1,3 "$OUT/members" | gauges registry_group_member_up member "Whether the member of the group answers this one."
  awk '{ print $1, $NF }' "$OUT/members" | gauges registry_group_member_cache_bytes member "Disk space that the blobs in its cache take."
}
