# shellcheck shell=bash disable=SC2034
# The upstreams that this host mirrors, from the parameters.

# By name and by URL.
declare -A PRESET_URL PRESET_HOSTS
while read -r name url hosts; do
  PRESET_URL[$name]=$url PRESET_HOSTS[$url]=$hosts
done < /etc/docker-registry/presets

# One line per upstream: NAME URL HOST PORT. On PORT the edge passes the proxy's requests on to the upstream. :443 mirrors
# the first, "default", when a request selects none.
upstreams() {
  local entry url host port=8080
  for entry in "default=$UPSTREAM_URL" ${UPSTREAMS//,/ }; do
    [[ $entry == *=* ]] || entry=$entry=${PRESET_URL[$entry]-}
    url=${entry#*=} url=${url%/} host=${url#*://}
    echo "${entry%%=*} $url ${host%%/*} $port"
    port=$((port + 1))
  done
}

# The unit of each one's proxy, a line each.
proxy_units() { upstreams | sed 's/ .*//; s/^/docker-registry-proxy@/; s/@default$//'; }

# upstream_of UNIT: the upstream whose proxy the unit is, docker-registry-proxy[@NAME].
upstream_of() { if [[ $1 == *@* ]]; then echo "${1#*@}"; else echo default; fi; }

# One line per name of this host that selects an upstream: NAME HOST.
upstream_aliases() {
  local name host
  upstreams | tail -n +2 | while read -r name _; do
    for host in "$FQDN" "$HOST_NAME" localhost ${SHARED_FQDN-}; do echo "$name $name.$host"; done
  done | sort -u
}

# upstream_credentials NAME: USER:PASSWORD, or nothing.
upstream_credentials() {
  local entry entries
  if [[ $1 == default ]]; then
    echo "${UPSTREAM_USERNAME:+$UPSTREAM_USERNAME:$UPSTREAM_PASSWORD}"
    return
  fi
  IFS=, read -ra entries <<< "$UPSTREAM_CREDENTIALS"
  for entry in "${entries[@]}"; do
    [[ $entry != "$1="* ]] || echo "${entry#*=}"
  done
}

# The caches of an upstream are kept under its name, but what is in them is its URL's: at another one, the same tag may be
# another image. What the name's last URL has left is set aside, and what was set aside for this one comes back.
sort_out_caches() {
  local name url before
  touch "$STATE/upstreams"
  while read -r name url _; do
    before=$(awk -v name="$name" '$1 == name { print $2 }' "$STATE/upstreams")
    [[ -n $before && $before != "$url" ]] || continue
    move_contents "$(store_dir "$name")" "$STATE/aside/$name/${before//\//_}"
    move_contents "$STATE/aside/$name/${url//\//_}" "$(store_dir "$name")"
    { grep -rlae "^KEY: $name " "$STATE/edge/manifests" || true; } | xargs -r rm -f
  done < <(upstreams)
  { upstreams | cut -d ' ' -f 1,2 && cat "$STATE/upstreams"; } | sort -su -k 1,1 > "$STATE/upstreams.new"
  mv "$STATE/upstreams.new" "$STATE/upstreams"
}
# move_contents FROM TO: replaces what is in TO. The containers have the directories themselves.
move_contents() {
  mkdir -p "$1" "$2"
  find "$2" -mindepth 1 -delete
  find "$1" -mindepth 1 -maxdepth 1 -exec mv --target-directory "$2" {} +
}

# nginx's maps take each name and each host once.
check_upstreams() {
  local twice unknown
  unknown=$(upstreams | awk 'NF < 4 { print $1; exit }')
  [[ -z $unknown ]] || fail "upstreams: no registry is known as $unknown, only ${!PRESET_URL[*]}: write $unknown=URL, such as gar=https://REGION-docker.pkg.dev"
  twice=$(upstreams | cut -d' ' -f1 | sort | uniq -d)
  [[ -z $twice ]] || fail "upstreams: the name $twice is reserved or given twice: use another"
  twice=$(upstreams | cut -d' ' -f3 | sort | uniq -d)
  [[ -z $twice ]] || fail "upstreams: $twice is given twice: ns= could select only one of the two"
}
