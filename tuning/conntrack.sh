#!/usr/bin/env bash
# Takes the clients' port out of connection tracking, in both directions. The tracking table has 262,144
# entries by default; when it is full, new connections are dropped.
#
#   tuning/conntrack.sh --port 8090                 says what would be done
#   tuning/conntrack.sh --port 8090 --apply         does it; until the next boot, or with nftables.service for good
#   tuning/conntrack.sh --undo --apply              takes it back
#   tuning/conntrack.sh --port 8090 --loadgen …     on a load generator's host: the port is the other side's
#
# A firewall that lets in what is `ct state established` must let in what is `ct state untracked` on this
# port as well, or nothing comes through: put that rule in first.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

port="" ours=dport theirs=sport undo=no
while [ $# -gt 0 ]; do
    case $1 in
    --port) port=${2:?} && shift ;;
    --loadgen) ours=sport theirs=dport ;;
    --apply) apply=yes ;;
    --undo) undo=yes ;;
    *) fail "$1: give --port N, --loadgen, --apply, --undo" ;;
    esac
    shift
done
begin
if [ "$undo" = yes ]; then
    run nft delete table inet tidegate_notrack
    exit
fi
case $port in '' | *[!0-9]*) fail "--port is the clients' port" ;; esac
if [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then fail "--port is 1 to 65535"; fi
rules="table inet tidegate_notrack
delete table inet tidegate_notrack
table inet tidegate_notrack {
    chain prerouting {
        type filter hook prerouting priority raw; policy accept;
        tcp $ours $port notrack
    }
    chain output {
        type filter hook output priority raw; policy accept;
        tcp $theirs $port notrack
    }
}"
printf 'nft -f - <<END\n%s\nEND\n' "$rules"
if [ "$apply" = yes ]; then nft -f - <<<"$rules"; fi
note "for every boot: put the table into /etc/nftables.conf and enable nftables.service"
note "look: nft list table inet tidegate_notrack; undo: ${0##*/} --undo --apply"
