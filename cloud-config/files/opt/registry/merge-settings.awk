# Merges files with a KEY='value' a line; of a key that several have, the last counts. The first file names all that there
# are, the second has the present values. Says what is wrong, but never a value.
function refuse(text) {
  print "error: " FILENAME ", line " FNR ": " text > "/dev/stderr"
  exit failed = 1
}
FILENAME != current { current = FILENAME; files++ }
/^[ \t]*(#|$)/ { next }
!/^[A-Z][A-Z0-9_]*='([^']|'"'"')*'$/ { refuse("write KEY='value', and a quote in the value '\"'\"'") }
{ key = substr($0, 1, index($0, "=") - 1) }
files == 1 { order[++count] = key }
!(key in line) && files > 1 { refuse("there is no setting " key) }
files > 2 && key ~ /^SIGNAL_/ { next }
files > 2 && key ~ /^(HOST_|FLOATING_IP|CACHE_VOLUME_ID)/ && line[key] != $0 { refuse(key " cannot change: replace the server") }
{ line[key] = $0 }
END { for (i = 1; i <= count && !failed; i++) print line[order[i]]; exit failed }
