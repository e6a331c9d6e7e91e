#!/usr/bin/env bash
# Runs a gateway under strace, with a data folder, a client, a reload and an orderly end, and compares the
# system calls that it made with the filter of the unit. Needs strace and systemd-analyze; without them it fails.
#
#   systemd/syscalls.sh target/release/tidegate
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${1:?usage: systemd/syscalls.sh path/to/tidegate}

fail() {
    echo "systemd/syscalls.sh: $*" >&2
    exit 1
}

for tool in strace systemd-analyze; do
    command -v "$tool" >/dev/null || fail "$tool is missing: install it"
done
[ -x "$binary" ] || fail "$binary is no program: build it first"
folder=$(mktemp -d)
pid=
stop() {
    if [ -n "$pid" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
    rm -rf "$folder"
}
trap stop EXIT

# A set's system calls, sets within it included.
calls_of() {
    local line
    systemd-analyze syscall-filter "$1" | tail -n +2 | while read -r line; do
        case $line in
        '#'* | '') ;;
        @*) calls_of "$line" ;;
        *) echo "$line" ;;
        esac
    done
}

allowed=() refused=()
while read -r sets; do
    for set in ${sets#\~}; do
        mapfile -t calls < <(calls_of "$set")
        case $sets in
        \~*) refused+=("${calls[@]}") ;;
        *) allowed+=("${calls[@]}") ;;
        esac
    done
done < <(sed -n 's/^SystemCallFilter=//p' systemd/tidegate.service)
# Expanding ~@privileged @keyring: the sign counts for the whole line.
if [ "${#allowed[@]}" -lt 100 ] || [ "${#refused[@]}" -lt 20 ]; then fail "the unit's filter cannot be read"; fi
comm -23 <(printf '%s\n' "${allowed[@]}" | sort -u) <(printf '%s\n' "${refused[@]}" | sort -u) >"$folder/allowed"

secret=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export TIDEGATE_AUTH__HS256_SECRET=$secret TIDEGATE_OPERATOR__LISTEN=127.0.0.1:0 TIDEGATE_LIMITS__DRAIN_TIMEOUT_MS=500
# Nobody listens there: asking is what counts.
export NOTIFY_SOCKET=$folder/notify WATCHDOG_USEC=1000000
# As the unit does it, not as root: SQLite, for one, gives files to others only if it is root.
as_user=()
if [ "$(id -u)" -eq 0 ]; then
    as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    cp "$binary" "$folder/tidegate"
    binary=$folder/tidegate
    chown 65534:65534 "$folder"
    cd "$folder"
fi
"${as_user[@]}" strace -f -qq -o "$folder/trace" "$binary" serve --shards 2 --listen 127.0.0.1:0 --data "$folder/data" 2>"$folder/log" &
tracer=$!
address=
for _ in $(seq 300); do
    address=$(sed -n 's/.*listening for clients.*address=\(127[0-9.:]*\).*/\1/p;T;q' "$folder/log")
    [ -z "$address" ] || break
    sleep 0.1
done
[ -n "$address" ] || fail "the gateway does not serve: $(cat "$folder/log")"
read -r pid _ <"$folder/trace"
echo 'say hello' | "$binary" connect "ws://$address" --user 42 --room 7 >/dev/null || fail "no client came in"
kill -HUP "$pid"
sleep 1
kill -TERM "$pid"
wait "$tracer" || fail "the gateway ended with $?: $(tail -n 5 "$folder/log")"
pid=

# Of interest is what was called after exec: that is the whole trace but for its first line.
sed -n 's/^[0-9]* *\([a-z0-9_]*\)(.*/\1/p; s/^[0-9]* *<\.\.\. \([a-z0-9_]*\) resumed.*/\1/p' "$folder/trace" | sort -u >"$folder/called"
[ "$(wc -l <"$folder/called")" -gt 20 ] || fail "strace saw next to nothing"
outside=$(comm -23 "$folder/called" "$folder/allowed" | tr '\n' ' ')
[ -z "$outside" ] || fail "the unit's filter would refuse: $outside"
echo "$(wc -l <"$folder/called") different system calls, all within the unit's filter"
