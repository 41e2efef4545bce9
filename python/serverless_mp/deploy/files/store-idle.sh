#!/bin/sh
# Counts how often in a row nobody was connected to a port, and fails from so many times on. store-idle.sh PORT TIMES FILE
set -eu
port=$(printf %04X "$1")
# Of both tables of connections: those to this port that are established (01).
connected=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v "end=:$port" '$4 == "01" && substr($2, length($2) - 4) == end' | wc -l)
times=$(cat "$3" 2>/dev/null || echo 0)
if [ "$connected" -gt 0 ]; then times=0; else times=$((times + 1)); fi
echo "$times" > "$3"
[ "$times" -lt "$2" ]
