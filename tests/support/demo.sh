#!/bin/bash
# Demonstrates a capture: starts a temporary PostgreSQL server, fills a few tables, captures them
# while they change, kills the capture, and starts it again from its state file. Removes everything
# at the end.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() {
    printf '\n\033[1m%s\033[0m\n' "$*"
}

say 'Installing the server, if it is missing'
tests/support/install-servers.sh 15
if ! command -v psql >/dev/null; then
    apt-get update -q && apt-get install -y -q --no-install-recommends postgresql-client
fi
cargo build --quiet --locked --bin source-postgres
binary=${CARGO_TARGET_DIR:-target}/debug/source-postgres
server=$(realpath "${POSTGRES_SERVERS:-target/postgres-servers}/15")

account=-
folder=$(mktemp -d -t source-postgres-demo-XXXXXX)
if [ "$(id -u)" -eq 0 ]; then
    account=nobody
    chown nobody "$folder"
fi
chmod 755 "$folder"

capture=
changes=
finish() {
    trap - EXIT
    for process in $capture $changes; do
        kill "$process" 2>/dev/null || true
    done
    if [ -n "${SERVER_PID:-}" ]; then
        # The end of serve.sh's input stops the server and removes the folder.
        eval "exec ${SERVER[1]}>&-"
        wait "$SERVER_PID" || true
    fi
    rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

say 'Starting a PostgreSQL server'
as_account() {
    if [ "$account" = - ]; then
        "$@"
    else
        setpriv --reuid="$account" --regid="$(id -g "$account")" --clear-groups "$@"
    fi
}
(cd / && as_account "$server/bin/initdb" -D "$folder/data" -U postgres --auth=trust \
    --encoding=UTF8 --locale=C.UTF-8 -N >/dev/null)
port=$((20000 + RANDOM % 20000))
cat >>"$folder/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
wal_level = logical
fsync = off
CONF
coproc SERVER {
    exec tests/support/serve.sh "$folder" "$account" "$server/bin/postgres" -D "$folder/data" \
        2>"$folder/server.log"
}
sql() {
    psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$port" -U postgres "$@"
}
for _ in $(seq 100); do
    if sql -c 'select 1' >/dev/null 2>&1; then
        break
    fi
    sleep 0.1
done
sql -Atc "select 'It is ' || version()"

say 'Filling three tables'
sql <<'SQL'
create schema shop;
create table shop.customers(id int primary key, name text not null, since date);
create table shop.orders(id bigint primary key, customer int, total numeric(10,2), tags text[]);
create table shop.visits(at timestamptz, page text);
insert into shop.customers
    select i, 'Customer ' || i, date '2020-01-01' + i % 2000 from generate_series(1, 20000) i;
insert into shop.orders
    select i, i % 20000 + 1, i * 1.25, array['tag ' || i % 7] from generate_series(1, 30000) i;
insert into shop.visits
    select timestamptz '2024-01-01 00:00Z' + i * interval '1 min', '/page/' || i % 50
    from generate_series(1, 10000) i;
create publication flow_publication for all tables with (publish_via_partition_root = true);
SQL
sql -Atc "select '  ' || relname || ': ' || n_live_tup || ' rows' from pg_stat_user_tables order by 1"

cat >"$folder/capture.json" <<JSON
{
  "address": "127.0.0.1:$port",
  "database": "postgres",
  "user": "postgres",
  "credentials": {"auth_type": "UserPassword", "password": "not asked for"},
  "historyMode": false,
  "advanced": {"backfill_chunk_size": 4096}
}
JSON

# Prints the first documents of each kind, then a count.
show_documents() {
    awk '{
        split($0, part, "\""); table = part[2]
        op = $0; sub(/.*"op":"/, "", op); op = substr(op, 1, 1)
        if ($0 ~ /"snapshot":true/) op = "row"
        kind = table " " op
        if (seen[kind]++ < 3) print "  " substr($0, 1, 160)
        if (NR % 10000 == 0) print "  ... " NR " documents"
        fflush()
    } END { print "  " NR " documents in this run" }'
}

run_capture() {
    "$binary" capture --config "$folder/capture.json" --state "$folder/state.json" \
        > >(show_documents) 2> >(sed -u 's/^\(.\{160\}\).*/\1/; s/^/  | /' >&2) &
    capture=$!
}

# Runs one transaction after another: inserts, updates, deletes, changes of a key.
make_changes() {
    local i
    for i in $(seq 1 100000); do
        echo "insert into shop.orders values (100000 + $i, $i, $i * 0.5, '{new}');"
        echo "update shop.customers set name = name || '!' where id = $i;"
        echo "delete from shop.orders where id = $i;"
        echo "update shop.customers set id = 1000000 + $i where id = 20001 - $i;"
        echo "insert into shop.visits values (now(), '/live/$i');"
        sleep 0.05
    done | sql >/dev/null 2>&1
}

say 'Capturing, while the tables change'
make_changes &
changes=$!
run_capture
for _ in $(seq 3000); do
    if grep -q '"scanned"' "$folder/state.json" 2>/dev/null; then
        break
    fi
    sleep 0.01
done
kill -9 "$capture"
wait "$capture" 2>/dev/null || true
sleep 0.3
say 'Killed (SIGKILL) during the backfill. The state file with the last checkpoint:'
show_state() {
    sed 's/^/  /' "$folder/state.json" | cut -c1-400
    sql -Atc "select '  confirmed_flush_lsn of the slot: ' || confirmed_flush_lsn
        from pg_replication_slots"
}
show_state

say 'Starting the capture again: it continues from the state file'
run_capture
sleep "${DEMO_SECONDS:-6}"

say 'The checkpoint now:'
show_state

say 'Done. Stopping the capture and the server, and removing their files'
kill -INT "$capture" 2>/dev/null || true
wait "$capture" 2>/dev/null || true
capture=
sleep 0.3
