#!/usr/bin/env bash
# Sets a profile's sysctls, and takes them back. What holds already (a limit that is larger, say) is left.
#
#   tuning/sysctl.sh --profile 100k|1m|loadgen [--nic-gbit N]            says what would be done
#   tuning/sysctl.sh --profile 1m --nic-gbit 25 --apply                  does it, now and at every boot
#   … --apply --force                                                    on a host with less memory, too
#   tuning/sysctl.sh --undo [--apply]                                    what was before, and no file
#
# The first --apply keeps what was before in /var/lib/tidegate-tuning/sysctl-before.conf; later ones do not
# touch it, so --undo always leads back to the beginning.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

profile="" nic_gbit="" undo=no force=no
while [ $# -gt 0 ]; do
    case $1 in
    --profile) profile=${2:?} && shift ;;
    --nic-gbit) nic_gbit=${2:?} && shift ;;
    --root) root=${2:?} && shift ;;
    --apply) apply=yes ;;
    --undo) undo=yes ;;
    --force) force=yes ;;
    *) fail "$1: give --profile 100k|1m|loadgen, --nic-gbit N, --apply, --undo" ;;
    esac
    shift
done
persistent=/etc/sysctl.d/60-tidegate.conf
kept=/var/lib/tidegate-tuning/sysctl-before.conf

if [ "$undo" = yes ]; then
    begin
    [ -s "$root$kept" ] || fail "$kept is not there: nothing was applied by this script"
    cat "$root$kept"
    run sysctl -q -p "$kept"
    run rm -f "$persistent" "$kept"
    exit
fi

case $profile in
100k | 1m) layers=(host gateway "$profile") ;;
loadgen) layers=(host loadgen) ;;
*) fail "--profile is 100k, 1m or loadgen" ;;
esac
case $nic_gbit in
'') note "--nic-gbit is not given: what depends on the NIC is left out" ;;
*[!0-9]*) fail "--nic-gbit is a whole number of Gbit/s" ;;
*) if [ "$nic_gbit" -le 10 ]; then layers+=(nic-10); elif [ "$nic_gbit" -le 25 ]; then layers+=(nic-25); else layers+=(nic-100); fi ;;
esac

# Key, how it is compared, value; a line each.
settings() {
    local layer
    for layer in "${layers[@]}"; do
        awk '/^# Check: /{check=substr($0, 10)} /^[^#].*=/{key=$1; value=$0; sub(/^[^=]*= */, "", value)
            gsub(/ /, "-", check); print key, check, value}' "$here/sysctl/$layer.conf"
    done
}

# Whether all numbers of $2 stand to those of $3 as $1 says.
holds() {
    awk -v how="$1" -v is="$2" -v should="$3" 'BEGIN {
        n = split(is, a, " "); m = split(should, b, " ")
        if (how == "at-least" || how == "at-most") {
            if (n != m) exit 1
            for (i = 1; i <= n; i++)
                if (a[i] !~ /^[0-9]+$/ || (how == "at-least" ? a[i] + 0 < b[i] + 0 : a[i] + 0 > b[i] + 0)) exit 1
            exit 0
        }
        if (how == "at-least-as-wide") exit !(n == 2 && a[1] + 0 <= b[1] + 0 && a[2] + 0 >= b[2] + 0)
        if (n != m) exit 1
        for (i = 1; i <= n; i++) if (a[i] != b[i]) exit 1
    }'
}

begin
# tcp_mem of a larger host lets sockets take what the system needs.
wanted_gib=$(sed -n 's/^# Memory GiB: //p' "$here/sysctl/$profile.conf")
has_kib=$(awk '/^MemTotal:/{print $2}' "$root/proc/meminfo" 2>/dev/null) || has_kib=0
if [ "${has_kib:-0}" -lt $((wanted_gib * 1048576 * 93 / 100)) ]; then
    note "this host has $((${has_kib:-0} / 1048576)) GiB, and the profile $profile is for $wanted_gib: net.ipv4.tcp_mem is too much for it"
    [ "$apply" = no ] || [ "$force" = yes ] || fail "not applied; --force does it all the same"
fi
new="" before=""
while read -r key check value; do
    name=${key#-}
    file="$root/proc/sys/${name//.//}"
    if ! is=$(tr -s "[:space:]" " " 2>/dev/null <"$file"); then
        if [ "$key" != "$name" ]; then note "$name: this kernel has none"; else note "$name: cannot be read, left out"; fi
        continue
    fi
    is=${is% }
    if holds "$check" "$is" "$value"; then continue; fi
    printf '%s = %s  # was %s\n' "$name" "$value" "$is"
    new+="$key = $value"$'\n'
    before+="-$name = $is"$'\n'
done < <(settings)
if [ -z "$new" ]; then
    note "everything is as the profile says"
    exit
fi
if [ "$apply" = no ]; then exit; fi
mkdir -p "${kept%/*}"
if [ -s "$kept" ]; then
    # What this run is the first to change.
    while IFS= read -r line; do
        grep -qF -- "${line%%=*}=" "$kept" || printf '%s\n' "$line" >>"$kept"
    done <<<"${before%$'\n'}"
else
    printf '%s' "$before" >"$kept"
fi
# A second run adds to the first one's file: what holds because of it must stay in it.
touch "$persistent"
while IFS= read -r line; do
    name=${line%%=*}
    awk -v name="$name" 'index($0, name "=") != 1' "$persistent" >"$persistent.new"
    printf '%s\n' "$line" >>"$persistent.new"
    mv "$persistent.new" "$persistent"
done <<<"${new%$'\n'}"
sysctl -q -p "$persistent"
note "in force, and at every boot: $persistent; back: ${0##*/} --undo --apply"
