#!/usr/bin/env bash
# Has promtool check the alert rules and their tests, and what a running gateway and a dispatcher show on
# /metrics.
#
#   tests/monitoring/promtool.sh [path to the tidegate binary]
#
# Installs Debian's package of Prometheus where there is no promtool. Fails loudly: rules that nobody
# parsed are no rules.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=${1:-target/release/tidegate}
operator=127.0.0.1:${PROMTOOL_PORT:-9743}

fail() { echo "promtool: $*" >&2; exit 1; }

[ -x "$binary" ] || fail "$binary is not there; run: cargo build --release"
if ! command -v promtool >/dev/null; then
    echo "There is no promtool: installing Debian's prometheus." >&2
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get update -qq >&2
    # A policy that starts no service: only the tool is wanted.
    $as_root env RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus >&2
fi
command -v promtool >/dev/null || fail "promtool could not be installed: install Debian's prometheus"

promtool check rules docs/monitoring/alerts.yml
promtool test rules docs/monitoring/alerts_test.yml

folder=$(mktemp -d)
log=$folder/log
TIDEGATE_OPERATOR__LISTEN=$operator "$binary" serve --listen 127.0.0.1:0 --shards 1 >"$log" 2>&1 &
gateway=$!
dispatcher=
trap 'kill "$gateway" $dispatcher 2>/dev/null || true; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
    if curl -sf "http://$operator/readyz" >/dev/null; then break; fi
    kill -0 "$gateway" 2>/dev/null || { cat "$log" >&2; fail "the gateway did not start"; }
    sleep 0.1
done
# The kernel is looked at by a thread of its own, for the first time soon after the start.
for _ in $(seq 100); do
    metrics=$(curl -sf "http://$operator/metrics") || fail "there are no metrics"
    if grep -q '^tidegate_host_tcp_segments_sent_total ' <<<"$metrics"; then break; fi
    sleep 0.1
done
grep -q '^tidegate_host_tcp_segments_sent_total ' <<<"$metrics" || fail "the kernel's figures are missing"
promtool check metrics <<<"$metrics"

dispatch_operator=127.0.0.1:${PROMTOOL_DISPATCH_PORT:-9744}
cat >"$folder/dispatch.toml" <<EOF
listen = "127.0.0.1:0"
operator_listen = "$dispatch_operator"
interval_ms = 200
[[gateways]]
name = "a"
urls = ["wss://a.example/"]
operator = "http://$operator"
EOF
"$binary" dispatch --config "$folder/dispatch.toml" >"$log" 2>&1 &
dispatcher=$!
for _ in $(seq 100); do
    if curl -sf "http://$dispatch_operator/readyz" >/dev/null; then break; fi
    kill -0 "$dispatcher" 2>/dev/null || { cat "$log" >&2; fail "the dispatcher did not start"; }
    sleep 0.1
done
dispatched=$(curl -sf "http://$dispatch_operator/metrics") || fail "the dispatcher has no metrics"
grep -q '^tidegate_dispatch_gateway_state{gateway="a",state="listed"} 1$' <<<"$dispatched" ||
    fail "the dispatcher does not list the gateway"
# Lines are sold in bits, and what a gateway is good for is given in bits: that complaint, and no other.
complaints=$(promtool check metrics <<<"$dispatched" 2>&1 |
    grep -v '^tidegate_dispatch_gateway_bits_per_second use base unit "bytes"' || true)
[ -z "$complaints" ] || fail "the dispatcher's metrics: $complaints"
echo "promtool: rules, their tests and $(grep -vc '^#' <<<"$metrics$dispatched") series are well"
