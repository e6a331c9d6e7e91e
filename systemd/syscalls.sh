#!/usr/bin/env bash
# Runs a gateway under strace, with a data folder, a client, a reload and an orderly end, and a dispatcher that
# hands it out; and compares the system calls that each made with the filter of its unit. Needs strace and
# systemd-analyze; without them it fails.
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
gateway='' dispatcher=''
stop() {
    for pid in $gateway $dispatcher; do kill -KILL "$pid" 2>/dev/null || true; done
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

# What the filter of a unit lets through.
allowed_by() {
    local sets set calls allowed=() refused=()
    while read -r sets; do
        for set in ${sets#\~}; do
            mapfile -t calls < <(calls_of "$set")
            case $sets in
            \~*) refused+=("${calls[@]}") ;;
            *) allowed+=("${calls[@]}") ;;
            esac
        done
    done < <(sed -n 's/^SystemCallFilter=//p' "systemd/$1")
    # Expanding ~@privileged @keyring: the sign counts for the whole line.
    if [ "${#allowed[@]}" -lt 100 ] || [ "${#refused[@]}" -lt 20 ]; then fail "the filter of $1 cannot be read"; fi
    comm -23 <(printf '%s\n' "${allowed[@]}" | sort -u) <(printf '%s\n' "${refused[@]}" | sort -u)
}
allowed_by tidegate.service >"$folder/gateway.allowed"
allowed_by tidegate-dispatch.service >"$folder/dispatcher.allowed"

# The address at which a process listens, by its log.
address_in() {
    local address=
    for _ in $(seq 300); do
        address=$(sed -n "s/.*$2.*address=\(127[0-9.:]*\).*/\1/p;T;q" "$1")
        [ -z "$address" ] || break
        sleep 0.1
    done
    [ -n "$address" ] || fail "it does not serve: $(cat "$1")"
    echo "$address"
}

# Compares what was called with what is allowed.
judge() {
    local trace=$folder/$1.trace called=$folder/$1.called outside
    # Of interest is what was called after exec: that is the whole trace but for its first line.
    sed -n 's/^[0-9]* *\([a-z0-9_]*\)(.*/\1/p; s/^[0-9]* *<\.\.\. \([a-z0-9_]*\) resumed.*/\1/p' "$trace" | sort -u >"$called"
    [ "$(wc -l <"$called")" -gt 20 ] || fail "strace saw next to nothing of the $1"
    outside=$(comm -23 "$called" "$folder/$1.allowed" | tr '\n' ' ')
    [ -z "$outside" ] || fail "the filter of the $1's unit would refuse: $outside"
    echo "$1: $(wc -l <"$called") different system calls, all within its unit's filter"
}

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
"${as_user[@]}" strace -f -qq -o "$folder/gateway.trace" "$binary" serve --shards 2 --listen 127.0.0.1:0 --data "$folder/data" 2>"$folder/gateway.log" &
gateway_tracer=$!
address=$(address_in "$folder/gateway.log" 'listening for clients')
operator=$(address_in "$folder/gateway.log" 'operator HTTP is listening')
read -r gateway _ <"$folder/gateway.trace"

# By name, so that names are resolved.
printf '%s = "127.0.0.1:0"\n' listen operator_listen >"$folder/dispatch.toml"
cat >>"$folder/dispatch.toml" <<EOF
interval_ms = 200
[[gateways]]
name = "a"
urls = ["ws://$address/"]
operator = "http://localhost:${operator##*:}"
EOF
chmod 644 "$folder/dispatch.toml"
"${as_user[@]}" strace -f -qq -o "$folder/dispatcher.trace" "$binary" dispatch --config "$folder/dispatch.toml" 2>"$folder/dispatcher.log" &
dispatcher_tracer=$!
clients=$(address_in "$folder/dispatcher.log" 'listening for clients')
read -r dispatcher _ <"$folder/dispatcher.trace"
for _ in $(seq 100); do
    if grep -q 'clients are sent there' "$folder/dispatcher.log"; then break; fi
    sleep 0.1
done
kill -HUP "$dispatcher"
sleep 1

echo 'say hello' | "$binary" connect --dispatch "http://$clients" --user 42 --room 7 >/dev/null || fail "no client came in"
kill -TERM "$dispatcher"
wait "$dispatcher_tracer" || fail "the dispatcher ended with $?: $(tail -n 5 "$folder/dispatcher.log")"
dispatcher=
kill -HUP "$gateway"
sleep 1
kill -TERM "$gateway"
wait "$gateway_tracer" || fail "the gateway ended with $?: $(tail -n 5 "$folder/gateway.log")"
gateway=

judge gateway
judge dispatcher
