# shellcheck shell=bash
# The signal to the stack's wait condition.

# signal SUCCESS|FAILURE REASON DATA: tells Heat that this host works, or why it does not.
signal() {
  [[ -n $SIGNAL_URL ]] || return 0
  local trust=()
  [[ ! -e $CA_BUNDLE ]] || trust=(--cacert "$CA_BUNDLE")
  {
    echo "url = $(curl_string "$SIGNAL_URL")"
    echo "header = $(curl_string "X-Auth-Token: $SIGNAL_TOKEN")"
    echo 'header = "Content-Type: application/json"'
    echo "data = $(curl_string "{\"status\":\"$1\",\"reason\":$(json_string "$2"),\"id\":\"ca\",\"data\":$(json_string "$3")}")"
  } | curl --silent --show-error --fail --output /dev/null --max-time 60 --retry 5 --retry-delay 5 \
    --retry-connrefused "${trust[@]}" --config - \
    || warn "Heat could not be signalled"
}
