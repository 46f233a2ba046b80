# Renders the configuration of a client from a file in /etc/docker-registry/clients, which `registry-stack client-config`
# renders as well. {mirror}, {registry} and {user} are replaced by the variables of these names; the lines between {each} and
# {end} are repeated for each of upstreams=NAME=HOST,… with {name}, {host} and {path}, the host without its port.
BEGIN { count = split(upstreams, upstream, ",") }
$0 == "{each}" { block = ""; inside = 1; next }
$0 == "{end}" {
  for (i = 1; i <= count; i++) { split(upstream[i], part, "="); printf "%s", rendered(block, part[1], part[2]) }
  inside = 0
  next
}
inside { block = block $0 "\n"; next }
{ print rendered($0) }
function rendered(text, name, host,   path) {
  path = host
  sub(/:.*/, "", path)
  gsub(/[{]name[}]/, name, text)
  gsub(/[{]host[}]/, host, text)
  gsub(/[{]path[}]/, path, text)
  gsub(/[{]mirror[}]/, mirror, text)
  gsub(/[{]registry[}]/, registry, text)
  gsub(/[{]user[}]/, user, text)
  return text
}
