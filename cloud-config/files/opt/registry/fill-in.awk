# Fills in how a client is configured, with mirror, registry, user and upstreams (NAME=HOST,…) given.
BEGIN { count = split(upstreams, upstream, ",") }
$0 == "{each}" { block = ""; inside = 1; next }
$0 == "{end}" {
  for (i = 1; i <= count; i++) { split(upstream[i], part, "="); printf "%s", filled(block, part[1], part[2]) }
  inside = 0
  next
}
inside { block = block $0 "\n"; next }
{ print filled($0) }
function filled(text, name, host,   path) {
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
