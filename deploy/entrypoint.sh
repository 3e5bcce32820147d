#!/bin/sh
# Platforms mount volumes that belong to root. Give ours to the server's user, then become it: the
# server itself never runs as root. Started as another user (`--user`), it stays that user.
set -eu
if [ "$(id -u)" = 0 ]; then
  [ "$(stat -c %U /data)" = camber ] || chown camber:camber /data
  exec setpriv --reuid=camber --regid=camber --init-groups --no-new-privs -- "$@"
fi
exec "$@"
