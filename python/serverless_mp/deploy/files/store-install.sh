# On Amazon Linux 2023: the server, and the units that run it, also when the machine starts again.
dnf install -y valkey
useradd --system --no-create-home serverless-mp 2>/dev/null || true
# The server's user reads them; root runs one of them, which nobody else may change.
chown -R root:serverless-mp "$directory"
chmod 750 "$directory"
chmod 640 "$directory"/*
cat > /etc/systemd/system/serverless-mp-store.service <<END
[Unit]
After=network-online.target
Wants=network-online.target
[Service]
User=serverless-mp
RuntimeDirectory=serverless-mp
RuntimeDirectoryMode=0700
ExecStart=/bin/sh $directory/store-serve.sh $directory $port
Restart=always
LimitNOFILE=65536
[Install]
WantedBy=multi-user.target
END
cat > /etc/systemd/system/serverless-mp-idle.service <<END
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/bin/sh $directory/store-idle.sh $port 12 /run/serverless-mp-idle || systemctl poweroff'
END
cat > /etc/systemd/system/serverless-mp-idle.timer <<END
[Timer]
OnBootSec=5min
OnUnitActiveSec=5min
[Install]
WantedBy=timers.target
END
systemctl daemon-reload
systemctl enable --now serverless-mp-store.service serverless-mp-idle.timer
