#!/bin/sh
# Runs the store of `serverless-mp up`: the server that is installed, with TLS of its own. store-serve.sh DIRECTORY PORT
# In the directory: server.pem and server.key (its certificate and key), and password.sha256. What it writes goes to the
# unit's runtime directory, or to the same.
set -eu
directory=$1
port=$2
for name in valkey-server redis-server; do
    server=$(command -v "$name") && break
done
[ -n "${server:-}" ] || { echo "no valkey-server and no redis-server is installed" >&2; exit 69; }
# Three quarters of the memory; the rest is for connections.
most=$(awk '/^MemTotal:/ { printf "%d", $2 * 3 / 4 }' /proc/meminfo)
place=${RUNTIME_DIRECTORY:-$directory}
umask 077
cat > "$place/store.conf" <<END
port 0
tls-port $port
tls-cert-file $directory/server.pem
tls-key-file $directory/server.key
tls-ca-cert-file $directory/server.pem
tls-auth-clients no
user default on #$(cat "$directory/password.sha256") ~* &* +@all
dir $place
save ""
appendonly no
maxmemory ${most}kb
maxmemory-policy noeviction
maxclients 20000
tcp-backlog 4096
tcp-keepalive 60
END
exec "$server" "$place/store.conf"
