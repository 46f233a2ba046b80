# shellcheck shell=bash
# Values quoted for the language of the file that they are written to.

# A YAML scalar that is a string whatever it looks like.
yaml_string() { printf "'%s'" "${1//\'/\'\'}"; }

# A JSON string.
json_string() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//$'\n'/\\n}"
}

# A value in a curl config file. `curl --config -` keeps secrets out of the process list.
curl_string() {
  local text=${1//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}
