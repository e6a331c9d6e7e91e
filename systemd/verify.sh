#!/usr/bin/env bash
# Has systemd itself look at the units, offline: that they parse, that all they name exists, how exposed
# the services are, and that users and folders can be made. Needs the binary of a build and the tools of
# systemd 252 or newer; without them it fails, because a check that is left out says nothing.
#
#   systemd/verify.sh target/release/tidegate
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${1:?usage: systemd/verify.sh path/to/tidegate}
# What the units have, in tenths, so that what opens the sandbox is noticed.
declare -A exposure_max=([tidegate.service]=12 [tidegate@.service]=12 [tidegate-dispatch.service]=11)

fail() {
    echo "systemd/verify.sh: $*" >&2
    exit 1
}

for tool in systemd-analyze systemd-sysusers systemd-tmpfiles; do
    command -v "$tool" >/dev/null || fail "$tool is missing: install systemd 252 or newer"
done
[ -x "$binary" ] || fail "$binary is no program: build it first"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

# A root of its own, with everything that the units name: a host's own units are not looked at.
mkdir -p "$root"/{bin,etc/tidegate/{secrets,dispatch-secrets},etc/systemd/system,usr/bin,usr/lib/systemd/system,usr/share/man/man1}
cp "$binary" "$root/usr/bin/tidegate"
cp /bin/kill "$root/bin/kill" 2>/dev/null || cp "$(command -v kill)" "$root/bin/kill"
for unit in sysinit basic shutdown network-online nss-lookup multi-user network local-fs sockets; do
    printf '[Unit]\nDescription=%s\n' "$unit" >"$root/usr/lib/systemd/system/$unit.target"
done
printf '[Unit]\nDescription=slice\n[Slice]\n' >"$root/usr/lib/systemd/system/system.slice"
cp systemd/tidegate.service systemd/tidegate@.service systemd/tidegate-dispatch.service "$root/usr/lib/systemd/system/"
"$binary" man "$root/usr/share/man/man1"

for unit in tidegate.service tidegate@.service tidegate@east.service tidegate-dispatch.service; do
    complaints=$(systemd-analyze verify --man=no --recursive-errors=yes --root="$root" "$unit" 2>&1) ||
        fail "$unit: $complaints"
    [ -z "$complaints" ] || fail "$unit: $complaints"
    echo "$unit: verified"
done
# A page that a unit names is one that the binary writes.
for page in $(sed -n 's/^Documentation=//p' systemd/*.service | tr ' ' '\n' | sed -n 's/^man:\(.*\)(1)$/\1/p'); do
    [ -s "$root/usr/share/man/man1/$page.1" ] || fail "a unit names the page $page, which is not written"
done

for unit in tidegate.service tidegate@.service tidegate-dispatch.service; do
    most=${exposure_max[$unit]}
    score=$(systemd-analyze security --offline=true --threshold="$most" "systemd/$unit" 2>&1 | tail -n 1) ||
        fail "$unit is more exposed than $most tenths: $score"
    echo "$score"
done

cp systemd/tidegate.sysusers "$root/tidegate.conf"
systemd-sysusers --root="$root" "$root/tidegate.conf" >/dev/null
grep -q '^tidegate:' "$root/etc/passwd" || fail "sysusers made no user tidegate"
cp systemd/tidegate.tmpfiles "$root/tidegate-tmpfiles.conf"
systemd-tmpfiles --root="$root" --create "$root/tidegate-tmpfiles.conf"
for secrets in secrets dispatch-secrets; do
    [ "$(stat -c %a "$root/etc/tidegate/$secrets")" = 700 ] || fail "tmpfiles left $secrets open"
done
echo "sysusers and tmpfiles: made"
