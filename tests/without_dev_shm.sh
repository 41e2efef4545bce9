#!/bin/sh
# Runs a command where /dev has no shm, as in a Lambda function, in a user and mount namespace of its own.
# Unmounting /dev/shm is not enough: the directory would still exist, and be writable.
set -e
if [ "$1" != inside ]; then
    exec unshare --user --map-root-user --mount --propagation private "$0" inside "$@"
fi
shift
place=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$place"
for name in null zero full random urandom tty; do
    touch "$place/$name"
    mount --bind "/dev/$name" "$place/$name"
done
mkdir "$place/pts"
mount --bind /dev/pts "$place/pts"
ln -s /proc/self/fd "$place/fd"
mount --rbind "$place" /dev  # not moved: only the namespace that created the mount below may do that
# Limit the space for temporary files to ROOM, if it is set.
[ -z "$ROOM" ] || mount -t tmpfs -o "size=$ROOM" none "$TMPDIR"
exec "$@"
