# Merges the metrics of several registries, one file each: every sample gets the name of its file as a label.
FNR == 1 { registry = FILENAME; sub(/.*\//, "", registry); label = "registry=\"" registry "\"" }
/^# (HELP|TYPE) / {
  family = $3
  if (!(family in samples)) { order[++families] = family; samples[family] = "" }
  if (!(($2, $3) in about)) about[$2, $3] = $0
  next
}
/^[a-z]/ { if (!sub(/\{/, "{" label ",")) sub(/ /, "{" label "} "); samples[family] = samples[family] $0 "\n" }
END { for (i = 1; i <= families; i++) printf "%s\n%s\n%s", about["HELP", order[i]], about["TYPE", order[i]], samples[order[i]] }
