#!/bin/sh
# Sets up one environment of a function like AWS Lambda's: read-only except for a /tmp of 512 MB, /dev without shm, no HOME, a user
# that owns nothing, 1,024 descriptors. Run as `unshare --user --map-root-user --mount environment.sh [NAME=VALUE ...] COMMAND ...`.
#
# Variables: PLACE is an empty directory; LANGUAGE the interpreter's prefix; RUNTIME AWS' runtime client; TASK the function's code;
# LAYERS its merged layers; RIE AWS' runtime interface emulator.
set -e

mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$PLACE"
cd "$PLACE"
mkdir proc dev tmp old mnt var opt home root run
for place in usr lib lib64 lib32 bin sbin etc; do
    if [ -L "/$place" ]; then cp -P "/$place" .; elif [ -d "/$place" ]; then mkdir "$place"; mount --rbind "/$place" "$place"; fi
done
# Lambda's C library has no time zone rules.
if [ -d usr/share/zoneinfo ]; then mount -t tmpfs -o mode=755 none usr/share/zoneinfo; fi
mount --rbind /proc proc
for name in null zero full random urandom; do touch "dev/$name"; mount --bind "/dev/$name" "dev/$name"; done
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o size=512m,mode=1777 none tmp
mkdir var/lang var/runtime var/task var/rapid
mount --bind "$LAYERS" opt
mount --rbind "$LANGUAGE" var/lang
# Hide this machine's packages: a managed runtime has few packages of its own.
for place in var/lang/lib/python3*/site-packages var/lang/lib/python3/dist-packages; do
    if [ -d "$place" ]; then mount -t tmpfs -o mode=755 none "$place"; fi
done
mount --bind "$RUNTIME" var/runtime
mount --bind "$TASK" var/task
touch var/rapid/rie
mount --bind "$RIE" var/rapid/rie
for place in usr lib lib64 lib32 bin sbin etc opt var/lang var/runtime var/task; do
    if mountpoint -q "$place"; then mount -o remount,bind,ro "$place"; fi
done
pivot_root . old
umount -l old
rmdir old
mount -o remount,ro / 2>/dev/null || mount -o remount,bind,ro /
cd /var/task
ulimit -c 0
# The user is in a namespace of its own: it does not own the files above.
exec unshare --user --map-user=993 --map-group=990 \
    prlimit --nofile=1024:1024 \
    setpriv --no-new-privs \
    env -i "$@"
