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
# samples NAME LABEL: samples with one label, from lines of the label's value and the sample's.
samples() { awk -v name="$1" -v label="$2" '{ printf "%s{%s=\"%s\"} %s\n", name, label, $1, $2 }'; }
# gauges NAME LABEL HELP: the family of such samples.
gauges() { samples "$1" "$2" | family "$1" gauge "$3"; }
