# shellcheck shell=bash disable=SC2034
# The settings of this host. They are on the server's own disk, so a new server with an old volume has its own.
#   environment             what the scripts source; edited by hand, or by registry-apply
#   environment.user-data   what user-data brought; Flatcar writes it again at every boot
#   environment.taken       the same, when it was last copied to `environment`: only what is new there counts
#   environment.applied     what the host runs with, and works
#   environment.applying    exists while registry-apply changes the host
#   environment.refused     what was edited, and is no good
ENVIRONMENT=/etc/docker-registry/environment

if [[ ! -e $ENVIRONMENT.taken || $(< $ENVIRONMENT.user-data) != "$(< $ENVIRONMENT.taken)" ]]; then
  for name in $ENVIRONMENT $ENVIRONMENT.taken; do
    install -m 0600 $ENVIRONMENT.user-data "$name.$$"
    mv "$name.$$" "$name"
  done
  rm -f $ENVIRONMENT.applying
fi
# shellcheck source=/dev/null
. "${SETTINGS:-$ENVIRONMENT}"
