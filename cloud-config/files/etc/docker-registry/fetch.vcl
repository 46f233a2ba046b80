# The blobs under way from the upstreams: one fetch, whoever asks, and everyone gets its bytes as they come. It asks the
# egress, which keeps nothing of a blob itself. What is here has no other copy until the proxy has stored it; it goes when
# the space is needed.
vcl 4.1;
import std;

backend egress {
  .path = "/run/registry/fetch/egress.sock";
  .connect_timeout = 5s;
  .first_byte_timeout = 15m;
  .between_bytes_timeout = 15m;
}

sub vcl_recv {
  if (req.url == "/") { return (synth(200)); }
  if (req.method == "PURGE") { return (purge); }
  if (req.method != "GET" && req.method != "HEAD") { return (synth(405)); }
  return (hash);
}

# A blob is the same in every repository of an upstream. Nothing else is: it has its whole path as key.
sub vcl_hash {
  hash_data(req.http.X-Registry);
  hash_data(regsub(req.url, "^[^?]*/blobs/([^/?]+:[^/?]+)(\?.*)?$", "\1"));
  return (lookup);
}

# Of what is not here, a HEAD fetches nothing, except a proxy's, which comes before a GET.
sub vcl_miss {
  if (req.method == "HEAD" && !req.http.X-For-Store) { return (pass); }
}

sub vcl_backend_response {
  set beresp.grace = 0s;
  set beresp.keep = 0s;
  if (bereq.uncacheable) { return (deliver); }
  # Requests that wait for this one go on, each by itself.
  if (beresp.status != 200) { return (pass(1s)); }
  if (std.bytes(beresp.http.Content-Length, 0B) > std.bytes(std.getenv("LARGEST_BLOB"), 0B)) { return (pass(1d)); }
  # Counted from the first byte on, and a fetch may take hours.
  set beresp.ttl = 1d;
  unset beresp.http.Vary;
  return (deliver);
}

sub vcl_deliver {
  # cold.conf sends the request through the proxy instead.
  if (req.method == "GET" && !req.http.X-For-Store && resp.status == 200 &&
      std.bytes(resp.http.Content-Length, 0B) > std.bytes(std.getenv("LARGEST_BLOB"), 0B)) {
    return (synth(200));
  }
  set resp.http.X-Shared = obj.hits > 0;
  unset resp.http.Age;
  unset resp.http.Via;
  unset resp.http.X-Varnish;
}

sub vcl_synth {
  if (req.url != "/" && req.method == "GET") { set resp.http.X-Accel-Redirect = "@pass_through"; }
}
