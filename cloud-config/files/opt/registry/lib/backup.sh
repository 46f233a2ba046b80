# shellcheck shell=bash disable=SC2034
# Sourced by registry-backup and registry-restore, in place of lib.sh. An archive is a line with its form, then a compressed tar,
# encrypted by openssl, which is in every image. gzip's checksum tells the right passphrase from another.
. /opt/registry/lib.sh
umask 077

FORM=docker-registry-backup
LASTING=("$CERTS" "$STATE"/{certs,logins,http-secret,htpasswd})
# Tells the archives of hosts apart, also when they have one name or one CA.
own=$HOST_NAME-$(sha256sum < "$STATE/http-secret" | cut -c 1-8)
WORK=$(mktemp -d -p "$RUN")
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"

# pack TAR: what must survive this host. A pair of the parameters is theirs to bring again; here it is one's own.
pack() {
  # shellcheck disable=SC2046
  tar -czPf "$1" --exclude .given $(ls -d "${LASTING[@]}" $ENVIRONMENT.applied 2> /dev/null)
}
crypt() { openssl enc "$@" -aes-256-cbc -pbkdf2 -iter 600000 -pass fd:3 3<<< "$BACKUP_PASSPHRASE"; }

# Logs in to Swift. The archives lie beside the pushed images, below a name that the registry never uses.
open_swift() {
  /opt/registry/check-swift catalog headers
  token=$(sed -n 's/^x-subject-token: *\([^[:space:]]*\).*/\1/Ip' headers)
  # Of the catalog. A service has its type before or behind its endpoints.
  folder=$(tr '{' '\n' < catalog | awk -F '"url": *"' -v region="\"$OS_REGION\"" '
    /"endpoints"/ { url = type = "" }
    /"public"/ && index($0, region) { url = $2 }
    /"object-store"/ { type = 1 }
    type && url { sub(/".*/, "", url); print url; exit }')/$SWIFT_CONTAINER
}
# swift PATH [curl options]: a request for the container, or for what is in it.
swift() {
  curl -sSf -m 300 --cacert "$CA_BUNDLE" -K - "${@:2}" "$folder$1" <<< "header = \"X-Auth-Token: $token\"" 2> log \
    || fail "Swift, $folder: $(< log)"
}
# The names of the archives there, the newest last.
backups() { swift "?prefix=registry-backup/"; }
