#!/bin/sh
# As in the official image: options or a .conf file mean redis-server, and root becomes the user redis.
# setpriv by its full path: the shell would run busybox's own, which cannot change users.
set -e
if [ "${1#-}" != "$1" ] || [ "${1%.conf}" != "$1" ]; then
    set -- redis-server "$@"
fi
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
    chown redis:redis /data
    exec /usr/bin/setpriv --reuid=redis --regid=redis --clear-groups "$0" "$@"
fi
exec "$@"
