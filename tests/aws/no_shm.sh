#!/bin/sh
# Runs a command where /dev has no shm, as in a Lambda function; as root, in a mount namespace of its own.
# Unmounting /dev/shm is not enough: its directory would still be there, and writable.
set -e
if [ "$1" != inside ]; then
    exec unshare --mount --propagation private "$0" inside "$@"
fi
shift
place=$(mktemp -d)
mount -t tmpfs none "$place"
for name in null zero full random urandom tty; do
    touch "$place/$name"
    mount --bind "/dev/$name" "$place/$name"
done
mkdir "$place/pts"
mount --bind /dev/pts "$place/pts"
mount --move "$place" /dev
exec "$@"
