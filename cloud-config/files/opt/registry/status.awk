# Formats the facts of /opt/registry/status-page, lines of a kind and its values, as JSON or as HTML (-v html=1).
function json(text) { gsub(/[[:cntrl:]]/, "", text); gsub(/["\\]/, "\\\\&", text); return "\"" text "\"" }
function safe(text) { gsub(/&/, "\\&amp;", text); gsub(/</, "\\&lt;", text); gsub(/>/, "\\&gt;", text); gsub(/"/, "\\&quot;", text); return text }
function size(bytes,   power) {
  for (power = 0; bytes >= 1000 && power < 5; power++) bytes /= 1000
  return sprintf(power ? "%.1f %s" : "%d %s", bytes, power ? substr("kBMBGBTBPB", 2 * power - 1, 2) : "B")
}
function percent(part, whole) { return whole ? sprintf("%.1f %%", 100 * part / whole) : "–" }
function left(text) { return text == "-" ? "" : text }
$1 == "fact" { fact[$2] = $3 + 0 }
$1 == "unit" { units = units (units ? ", " : "") sprintf("{\"name\": %s, \"active\": %s}", json($2), $3 == "active" ? "true" : "false"); if ($3 != "active") down = down " " $2 }
$1 == "upstream" {
  label[$2] = $3 ~ /docker\.io/ ? "docker.io" : $3
  sub(/^https?:\/\//, "", label[$2])
  upstreams = upstreams (upstreams ? ", " : "") sprintf("{\"name\": %s, \"url\": %s, \"answers\": %s, \"cache_bytes\": %d, \"pulls_left\": %s}",
    json($2), json($3), $4 ? "true" : "false", $5, $6 == "-" ? "null" : $6 + 0)
  upstream_rows = upstream_rows sprintf("<tr><td>%s<td>%s<td class=%s<td>%s<td>%s\n",
    safe(label[$2]), safe($3), $4 ? "good>answers" : "bad>does not answer", size($5), safe(left($6)))
  if (!$4) away = away " " label[$2]
}
# <group>
$1 == "member" {
  members = members (members ? ", " : "") sprintf("{\"number\": %d, \"address\": %s, \"answers\": %s, \"cache_bytes\": %d}",
    $2, json($3), $4 ? "true" : "false", $5)
  member_rows = member_rows sprintf("<tr><td>%d<td>%s<td class=%s<td>%s\n", $2, safe($3), $4 ? "good>answers" : "bad>does not answer", size($5))
  if (!$4) lost = lost " " $3
}
# </group>
$1 == "repository" {
  tags = names = ""
  for (i = 4; i <= NF; i++) { tags = tags (i > 4 ? ", " : "") json($i); if (i < 24) names = names " " $i }
  shown++
  repositories = repositories (repositories ? ",\n  " : "") sprintf("{\"upstream\": %s, \"name\": %s, \"tags\": [%s]}", json($2), json($3), tags)
  repository_rows = repository_rows sprintf("<tr><td>%s<td>%s<td>%s%s\n", safe(label[$2]), safe($3), safe(names), NF > 23 ? sprintf(" and %d more", NF - 23) : "")
}
END { if (html) page(); else data() }
function data() {
  printf "{\"updated\": %d, \"requests\": %d, \"hits\": %d, \"hit_ratio\": %s,\n",
    fact["updated"], fact["requests"], fact["hits"], fact["requests"] ? fact["hits"] / fact["requests"] : "null"
  printf " \"bytes_served\": %.0f, \"bytes_fetched\": %.0f, \"disk_size\": %.0f, \"disk_free\": %.0f, \"certificate_expires\": %d,\n",
    fact["served"], fact["fetched"], fact["disk_size"], fact["disk_free"], fact["expires"]
  # <group>
  if (members) printf " \"members\": [%s],\n", members
  # </group>
  printf " \"services\": [%s],\n \"upstreams\": [%s],\n \"repository_count\": %d,\n \"repositories\": [\n  %s]}\n", units, upstreams, fact["repositories"], repositories
}
function page() {
  if (down away lost == "") print "<p class=good>All services and upstreams are up."
  if (down) printf "<p class=bad>Not running:%s\n", safe(down)
  if (away) printf "<p class=bad>Upstreams that do not answer, so only cached images can be pulled:%s\n", safe(away)
  # <group>
  if (lost) printf "<p class=bad>Members of the group that do not answer:%s\n", safe(lost)
  # </group>
  printf "<dl>\n<div><dt>Served from the cache<dd>%s</div>\n<div><dt>Served<dd>%s</div>\n", percent(fact["hits"], fact["requests"]), size(fact["served"])
  printf "<div><dt>Fetched<dd>%s</div>\n<div><dt>In the cache<dd>%s</div>\n<div><dt>Disk free<dd>%s</div>\n</dl>\n",
    size(fact["fetched"]), size(fact["cached"]), size(fact["disk_free"])
  print "<p class=dim>" fact["requests"] " requests since this server started."
  print "<h3>Upstreams</h3>\n<table><thead><tr><th>Name<th>Address<th>State<th>In the cache<th>Pulls left</thead><tbody>\n" upstream_rows "</tbody></table>"
  # <group>
  if (members) print "<h3>Members of the group</h3>\n<table><thead><tr><th>Number<th>Address<th>State<th>In the cache</thead><tbody>\n" member_rows "</tbody></table>"
  # </group>
  print "<h3>Images in the cache</h3>\n<table><thead><tr><th>Registry<th>Repository<th>Tags</thead><tbody>\n" repository_rows "</tbody></table>"
  if (fact["repositories"] > shown) printf "<p>and %d more repositories\n", fact["repositories"] - shown
}
