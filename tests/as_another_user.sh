#!/bin/sh
# Runs a command as a user that owns nothing, if root has started it: as_another_user.sh COMMAND [ARGUMENT ...]
# READABLE names directories that only root can enter and that the command needs, such as an interpreter in root's home (default:
# the interpreter's own prefix); they are made visible in a mount namespace of the command. Without root, or without namespaces,
# the command runs as the user that has started it.
set -eu
[ "$(id -u)" = 0 ] || exec "$@"
: "${READABLE:=$("$1" -c 'import sys; print(sys.base_prefix)' 2>/dev/null || true)}"
if [ -z "${IN_NAMESPACE:-}" ]; then
    if ! unshare --mount true 2>/dev/null || ! setpriv --reuid 54321 true 2>/dev/null; then
        echo "as_another_user: no namespaces here: runs as root" >&2
        exec "$@"
    fi
    IN_NAMESPACE=1 READABLE="$READABLE" exec unshare --mount --propagation private -- "$0" "$@"
fi
as_user() { setpriv --reuid 54321 --regid 54321 --clear-groups --inh-caps=-all "$@"; }
for place in $READABLE; do
    as_user test -x "$place" && continue
    # Find the uppermost directory that the user cannot enter.
    closed=$place
    while [ "$closed" != / ]; do
        as_user test -x "$closed" || uppermost=$closed
        closed=$(dirname "$closed")
    done
    kept=$(mktemp -d)
    mount --bind "$place" "$kept"
    mount -t tmpfs -o mode=755 tmpfs "$uppermost"
    mkdir -p "$place"
    mount --move "$kept" "$place" 2>/dev/null || mount --bind "$kept" "$place"
done
home=$(mktemp -d)
chown 54321:54321 "$home"
unset IN_NAMESPACE READABLE
export HOME="$home" TMPDIR="$home" USER=somebody LOGNAME=somebody PYTHONDONTWRITEBYTECODE=1
status=0
setpriv --reuid 54321 --regid 54321 --clear-groups --inh-caps=-all "$@" || status=$?
rm -rf "$home"
exit $status
