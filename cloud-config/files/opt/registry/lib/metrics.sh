# shellcheck shell=bash disable=SC2034
# Sourced by the scripts that collect metrics, in place of lib.sh.
. /opt/registry/lib.sh
export LC_ALL=C
OUT=$RUN/metrics

# family NAME TYPE HELP: writes the head of a metric family, then its samples from standard input.
family() {
  printf '# HELP %s %s\n# TYPE %s %s\n' "$1" "$3" "$1" "$2"
  cat
}
# gauges NAME LABEL HELP: a gauge with one label, from lines of the label's value and the sample's.
gauges() { awk -v name="$1" -v label="$2" '{ printf "%s{%s=\"%s\"} %s\n", name, label, $1, $2 }' | family "$1" gauge "$3"; }
