#!/usr/bin/env bash
# Installs the Debian package in a fresh root and runs the service there under a systemd of its own, with the
# unit as it is: start, readiness, a show, one that an operator runs by clicks in Chromium, a reload, the watchdog's
# silence, several instances, a dispatcher, an upgrade, the end.
#
#   systemd/fresh-root.sh PACKAGE.deb [ROOT]
#
# Chromium is found, or installed on the host, by tests/browser/install.sh; TIDEGATE_SCREENSHOTS names a folder for
# pictures of the console.
# Needs root, debootstrap and a cgroup v2 hierarchy. ROOT (by default a temporary folder) is made if it is not
# there; it is booted in namespaces of its own, with a network of its own, and nothing of the host is changed.
set -euo pipefail
project=$(realpath "$(dirname "$0")/..")
package=$(realpath "$1")
root=${2:-$(mktemp -d)/root}

if [ ! -x "$root/usr/lib/systemd/systemd" ]; then
    debootstrap --variant=minbase --include=systemd,systemd-sysv,curl,procps,libgcc-s1 bookworm "$root" >/dev/null
fi
cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
if [ -z "$cgroups" ]; then
    echo "there is no cgroup v2 hierarchy here, and systemd needs one" >&2
    exit 2
fi

# A root of its own, in every namespace but that of users; systemd is process 1 in it.
boot='
    root=$1
    mount --make-rprivate /
    mount --bind "$root" "$root"
    cd "$root"
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs tmpfs run
    mount -t tmpfs tmpfs tmp
    mount -t tmpfs -o mode=755 tmpfs dev
    for device in null zero full random urandom tty; do
        touch "dev/$device"
        mount --bind "/dev/$device" "dev/$device"
    done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
    mount -t tmpfs tmpfs dev/shm
    ln -s pts/ptmx dev/ptmx
    mkdir -p old
    pivot_root . old
    umount -l /old
    # What a container manager does: a mount for a service (its credentials) is made in another namespace.
    mount --make-rshared /
    exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --log-target=journal --show-status=0
'
group=$cgroups/tidegate-fresh-root
mkdir -p "$group"
# shellcheck disable=SC2016
(
    echo "$BASHPID" >"$group/cgroup.procs"
    exec unshare --fork --pid --mount --uts --ipc --net --cgroup --mount-proc \
        bash -euc "$boot" boot "$root"
) &
unshare=$!
init() { pgrep --parent "$unshare" || true; }
inside() { nsenter --target "$(init)" --all "$@"; }
finish() {
    status=$?
    if [ "$status" != 0 ]; then
        inside journalctl --no-pager --unit "tidegate*" --lines 60 || true
    fi
    kill -KILL "$(init)" 2>/dev/null || true
    wait "$unshare" 2>/dev/null || true
    rmdir "$group" 2>/dev/null || true
    exit "$status"
}
trap finish EXIT

fail() {
    echo "broken: $*" >&2
    exit 1
}
# Waits for a command to succeed, half a minute at most.
until_true() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "in vain: $*"
}
property() { inside systemctl show --value --property "$1" tidegate; }
ask() { inside curl --silent --show-error --fail --max-time 10 "$@"; }

until_true inside systemctl list-units
until_true inside test -S /run/systemd/private
cp "$package" "$root/tmp.deb"
inside dpkg --install /tmp.deb >/dev/null
rm "$root/tmp.deb"
inside systemctl is-enabled tidegate >/dev/null 2>&1 && fail "the package enables the service by itself"
[ "$(property ActiveState)" = inactive ] || fail "the package starts the service by itself"

# As docs/systemd.md says: a secret as a credential.
inside install -d -m 700 /etc/tidegate/secrets
inside bash -c 'umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d " \n" >/etc/tidegate/secrets/hs256'
settings='listen = "127.0.0.1:8090"
[auth]
hs256_secret_file = "/run/credentials/tidegate.service/secrets_hs256"
'
write_settings() { printf '%s' "$settings$1" | inside tee /etc/tidegate/tidegate.toml >/dev/null; }
write_settings ''
inside systemctl start tidegate
[ "$(property ActiveState)/$(property SubState)" = active/running ] || fail "it does not run"
[ "$(property NRestarts)" = 0 ] || fail "it had to be started again"
ask http://127.0.0.1:8091/readyz | grep --quiet accepting || fail "it is not ready"
[ "$(inside stat --format %U:%a /var/lib/tidegate)" = tidegate:700 ] || fail "whose is the folder?"

# A whole show, over the operator's HTTP, with its prize in the journal.
show='{"title":"A fresh root","prize_pool_cents":100,"timing":{"countdown_ms":1000,"lead_ms":50,"display_slack_ms":50},
"questions":[{"text":"One?","options":["a","b"],"correct":0}]}'
ask --request PUT --data "$show" http://127.0.0.1:8091/v1/shows/7 >/dev/null
order() { ask --request POST "http://127.0.0.1:8091/v1/shows/7/$1" >/dev/null; }
phase() { ask http://127.0.0.1:8091/v1/shows/7 | grep --quiet "\"phase\":\"$1\""; }
order open-lobby
order publish
until_true phase closed

# Killed in the middle, it goes on from its folder.
inside kill -KILL "$(property MainPID)"
until_true phase closed
[ "$(property NRestarts)" = 1 ] || fail "it was not started again"
order reveal
order settle
until_true phase settled

# As docs/console.md says: an account, made by the service's user.
password=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
account() { inside runuser --user tidegate -- tidegate account "$@" --file /var/lib/tidegate/accounts; }
printf '%s\n' "$password" | account add anna --role administrator >/dev/null
account list | grep --quiet anna || fail "the account is not there"
settings="$settings[operator]
accounts_file = \"/var/lib/tidegate/accounts\"
"
write_settings ''
inside systemctl restart tidegate

# Another show, by clicks: a browser of the host, in the network of the root.
TIDEGATE_CHROMIUM=$("$project/tests/browser/install.sh") \
    TIDEGATE_INSTALLED_OPERATOR=127.0.0.1:8091 TIDEGATE_INSTALLED_CLIENTS=127.0.0.1:8090 \
    TIDEGATE_INSTALLED_PASSWORD=$password \
    TIDEGATE_INSTALLED_SECRET=$(inside cat /etc/tidegate/secrets/hs256) \
    nsenter --target "$(init)" --net \
    cargo test --quiet --manifest-path "$project/Cargo.toml" --test installed -- --ignored

# Other settings, without a restart; and settings that are wrong change nothing.
main=$(property MainPID)
write_settings '[chat]
text_bytes_max = 11
'
inside systemctl reload tidegate
metric() { ask http://127.0.0.1:8091/metrics | grep --quiet --line-regexp "$1"; }
until_true metric 'tidegate_config_reloads_total 1'
write_settings '[chat]
text_bytes_max = 0
'
inside systemctl reload tidegate
until_true metric 'tidegate_config_stale 1'
[ "$(property MainPID)" = "$main" ] || fail "a reload is no restart"
write_settings ''

# One that turns no shard any more is ended by the watchdog and started again.
inside mkdir -p /run/systemd/system/tidegate.service.d
printf '[Service]\nWatchdogSec=2s\n' | inside tee /run/systemd/system/tidegate.service.d/short.conf >/dev/null
inside systemctl daemon-reload
inside systemctl restart tidegate
inside kill -STOP "$(property MainPID)"
restarted() { [ "$(property NRestarts)" -ge 1 ] && ask http://127.0.0.1:8091/readyz; }
until_true restarted
inside rm -r /run/systemd/system/tidegate.service.d
inside systemctl daemon-reload

# Two instances: one takes over from the other on the same port, and nobody is refused.
token=$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')
instance() {
    printf '%s' "listen = \"127.0.0.1:8095\"
[net]
share_port = true
[drain]
spread_ms = 500
[auth]
hs256_secret_file = \"/run/credentials/tidegate@$1.service/secrets_hs256\"
[operator]
listen = \"127.0.0.1:$2\"
token = \"$token\"
" | inside install -g tidegate -m 640 /dev/stdin "/etc/tidegate/$1.toml"
}
instance blue 8096
instance green 8097
inside systemctl start tidegate@blue
# Requests, each on a connection of its own, until it is calm; prints each status once.
# shellcheck disable=SC2016
storm='for _ in $(seq 200); do
    test -e /tmp/calm && break
    curl --silent --parallel --parallel-max 20 --header "Connection: close" --output /dev/null \
        --write-out "%{http_code}\n" "http://127.0.0.1:8095/?[1-200]" 2>/dev/null
done | sort -u'
inside bash -c "$storm" >"$root/storm" &
storming=$!
sleep 1
inside systemctl start tidegate@green
inside systemctl stop tidegate@blue
sleep 1
inside touch /tmp/calm
wait "$storming"
[ "$(cat "$root/storm")" = 426 ] || fail "an upgrade beside refused somebody: $(tr '\n' ' ' <"$root/storm")"
rm "$root/storm"
[ "$(inside systemctl show --value --property Result tidegate@blue)" = success ] || fail "blue did not end well"
[ "$(inside stat --format %U:%a /var/lib/tidegate/green)" = tidegate:700 ] || fail "whose is the folder of green?"

# A dispatcher, with a token as a credential, lists those that take clients.
printf '%s' "$token" | inside install -m 600 /dev/stdin /etc/tidegate/dispatch-secrets/token
dispatch() {
    printf '%s' "token_file = \"/run/credentials/tidegate-dispatch.service/secrets_token\"
interval_ms = 200
timeout_ms = 200
[[gateways]]
name = \"main\"
urls = [\"ws://127.0.0.1:8090/\"]
operator = \"http://127.0.0.1:8091\"
$1" | inside tee /etc/tidegate/dispatch.toml >/dev/null
}
listed() { [ "$(ask http://127.0.0.1:8093/v1/gateways | grep --only-matching 'ws://[0-9.:]*' | sort | tr '\n' ' ')" = "$1" ]; }
dispatch ''
inside systemctl start tidegate-dispatch
until_true listed 'ws://127.0.0.1:8090 '
dispatch '[[gateways]]
name = "green"
urls = ["ws://127.0.0.1:8095/"]
operator = "http://127.0.0.1:8097"
'
inside systemctl reload tidegate-dispatch
until_true listed 'ws://127.0.0.1:8090 ws://127.0.0.1:8095 '
inside systemctl stop tidegate@green
until_true listed 'ws://127.0.0.1:8090 '
inside systemctl stop tidegate-dispatch
[ "$(inside systemctl show --value --property Result tidegate-dispatch)" = success ] || fail "the dispatcher did not end well"

# A newer package lets it run on; it ends with 0, and its book is right.
main=$(property MainPID)
cp "$package" "$root/tmp.deb"
inside dpkg --install /tmp.deb >/dev/null
rm "$root/tmp.deb"
[ "$(property MainPID)" = "$main" ] || fail "an upgrade ends a running gateway"
inside systemctl stop tidegate
[ "$(property Result)/$(property ExecMainStatus)" = success/0 ] || fail "it does not end with 0"
inside tidegate ledger verify --data /var/lib/tidegate >/dev/null || fail "the book is not proved"

# Settings that are wrong are not tried again and again.
write_settings 'shards = "many"
'
if inside systemctl start tidegate 2>/dev/null; then fail "it starts with wrong settings"; fi
[ "$(property ExecMainStatus)/$(property NRestarts)" = 78/0 ] || fail "status 78, and no other try"

inside dpkg --purge tidegate >/dev/null 2>&1
inside test -d /var/lib/tidegate/ || fail "the money is gone with the package"
echo "the package and its unit hold in a fresh root, systemd $(inside systemctl --version | awk 'NR == 1 { print $2 }')"
