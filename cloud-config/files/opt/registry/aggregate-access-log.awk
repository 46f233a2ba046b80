# Adds the edge's access log to the counters so far, which are in Prometheus' text format.
BEGIN { buckets = split("0.005 0.025 0.1 0.25 1 2.5 10 30", bound, " ") }
so_far { value = $NF; sub(/ [^ ]+$/, ""); total[$0] = value; next }
/^ratelimit/ { split($1, part, "|"); remaining[part[2]] = $2; limit[part[2]] = $3; next }
/^wrong/ { add("registry_edge_wrong_content_total", $2, NF < 3); next }
# A hit that took this long waited for a fetch that another client had started.
$3 >= 0.05 { sub(/[|]hit[|]/, "|coalesced|", $1) }
NF == 3 { requests[$1]++; bytes[$1] += $2; if ($3 > 0) took($1, $3) }

function took(request, seconds,   i) {
  sum[request] += seconds
  i = 1
  while (i <= buckets && seconds > bound[i]) i++
  slower[request, i]++
}
function add(metric, labels, n) { total[metric "{" labels "}"] += n }
function add_durations(request, labels,   i, n) {
  n = requests[request]
  for (i = 2; i <= buckets + 1; i++) n -= slower[request, i]
  add("registry_edge_request_duration_seconds_bucket", labels ",le=\"" bound[1] "\"", n)
  for (i = 2; i <= buckets; i++) add("registry_edge_request_duration_seconds_bucket", labels ",le=\"" bound[i] "\"", n += slower[request, i])
  add("registry_edge_request_duration_seconds_bucket", labels ",le=\"+Inf\"", requests[request])
  add("registry_edge_request_duration_seconds_sum", labels, sum[request])
  add("registry_edge_request_duration_seconds_count", labels, requests[request])
}
END {
  for (key in requests) {
    split(key, part, "|")
    # A blob that is still being fetched, not yet one of the store.
    if (part[4] == "hit" && part[3] == "blob") part[4] = "coalesced"
    if (part[4] == "blob-file") part[4] = "hit"
    if (part[4] == "-") part[4] = "none"
    few = "listener=\"" part[1] "\",object=\"" part[3] "\""
    all = few ",upstream=\"" (part[2] == "-" ? "none" : part[2]) "\",cache=\"" part[4] "\",code=\"" part[5] "\""
    add("registry_edge_requests_total", all, requests[key])
    add("registry_edge_response_bytes_total", all, bytes[key])
    add_durations(key, few)
  }
  # The values look like "76;w=21600": awk takes the number before the window.
  for (name in remaining) {
    total["registry_edge_upstream_ratelimit_remaining{upstream=\"" name "\"}"] = remaining[name] + 0
    total["registry_edge_upstream_ratelimit_limit{upstream=\"" name "\"}"] = limit[name] + 0
  }
  for (key in total) printf "%s %.15g\n", key, total[key]
}
