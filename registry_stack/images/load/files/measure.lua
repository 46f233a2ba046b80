-- wrk: the path and the Accept header to ask for are its arguments; the figures come as one JSON line at the end. A third
-- argument is the pause of each connection between two requests, in ms: without it, wrk measures at full load only. A fourth
-- is a file with the Authorization header.
function init(args)
  wrk.headers["Accept"] = args[2] or "*/*"
  wrk.path = args[1]
  local pause = tonumber(args[3])
  if pause then
    function delay() return pause end
  end
  if args[4] then
    wrk.headers["Authorization"] = io.open(args[4]):read()
  end
end

function done(summary, latency, requests)
  io.write(string.format(
    '{"seconds": %f, "requests": %d, "bytes": %d, "p50_ms": %f, "p95_ms": %f, "p99_ms": %f, "max_ms": %f, '
      .. '"bad_status": %d, "connect_errors": %d, "read_errors": %d, "write_errors": %d, "timeouts": %d}\n',
    summary.duration / 1e6, summary.requests, summary.bytes,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    summary.errors.status, summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.timeout))
end
