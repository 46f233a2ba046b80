#!/bin/sh
# make-rootfs.sh ROOT PACKAGE FILE...: put files, and the shared libraries they need, into a small root file system
# with a busybox shell, users, certificates and the name of the Debian package it was made from.
set -eu
root=$1 package=$2
shift 2

mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/etc/ssl/certs" \
    "$root/usr/share/registry-stack" "$root/var" "$root/run" "$root/proc" "$root/sys" "$root/dev" "$root/root"
install -d -m 1777 "$root/tmp" "$root/var/tmp"
ln -s ../run "$root/var/run"
# The layout of Debian itself: ldd names libraries by either path.
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done

with_libraries() {
    mkdir -p "$root$(dirname "$1")"
    cp -L "$1" "$root$1"
    # ldd fails on a static file, which needs nothing more.
    for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
        mkdir -p "$root$(dirname "$library")"
        cp -L --update=none "$library" "$root$library"
    done
}

for path in /bin/busybox "$@"; do
    if [ -d "$path" ]; then
        mkdir -p "$root$path"
        cp -a "$path/." "$root$path"
    else
        with_libraries "$path"
    fi
done
for applet in $(busybox --list); do
    [ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
dpkg-query -W -f '${Package} ${Version}\n' "$package" >"$root/usr/share/registry-stack/package"
