# shellcheck shell=bash disable=SC2034
# Sourced by registry-metrics and registry-look.
# shellcheck source=/dev/null
. /opt/registry/lib.sh
export LC_ALL=C
OUT=$RUN/metrics

# family NAME TYPE HELP: the head of a family, then its samples from standard input.
family() { printf '# HELP %s %s\n# TYPE %s %s\n' "$1" "$3" "$1" "$2"; cat; }
# gauges NAME LABEL HELP: lines of a label's value and the sample's.
gauges() { awk -v name="$1" -v label="$2" '{ printf "%s{%s=\"%s\"} %s\n", name, label, $1, $2 }' | family "$1" gauge "$3"; }
