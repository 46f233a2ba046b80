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

# upstream_of UNIT: the upstream whose proxy the unit is, docker-registry-proxy[@NAME].
upstream_of() { if [[ $1 == *@* ]]; then echo "${1#*@}"; else echo default; fi; }

# One line per name of this host that selects an upstream: NAME HOST.
upstream_aliases() {
  local name host
  upstreams | tail -n +2 | while read -r name _; do
    for host in "$FQDN" "$HOST_NAME" localhost; do echo "$name $name.$host"; done
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
