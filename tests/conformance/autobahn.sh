#!/usr/bin/env bash
# Runs the Autobahn WebSocket test suite against `tidegate serve --echo` and compares the outcome of
# every case with tests/conformance/expected.json.
#
#   tests/conformance/autobahn.sh [path to the tidegate binary]
#
# The suite is Python 2 only: autobahntestsuite 25.10.1 from PyPI, installed into target/autobahn.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=${1:-target/release/tidegate}
suite=target/autobahn
port=${AUTOBAHN_PORT:-9741}

fail() { echo "autobahn: $*" >&2; exit 1; }

[ -x "$binary" ] || fail "$binary is not there; run: cargo build --release"

python=
for candidate in "${PYTHON2:-}" python2.7 "$HOME"/.pyenv/versions/2.7.*/bin/python2.7; do
    if [ -n "$candidate" ] && "$candidate" -m pip --version >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "the suite needs Python 2.7 with pip; install one (pyenv install 2.7.18) or set PYTHON2"

if [ ! -f "$suite/packages/bin/wstest" ]; then
    echo "autobahn: installing the suite into $suite"
    mkdir -p "$suite/packages"
    "$python" -m pip install --quiet --disable-pip-version-check \
        --target="$suite/packages" autobahntestsuite==25.10.1
    touch "$suite/packages/zope/__init__.py"
fi

"$binary" serve --echo --listen "127.0.0.1:$port" --shards 1 >"$suite/gateway.log" 2>&1 &
gateway=$!
suites=()
trap 'kill "$gateway" "${suites[@]}" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    kill -0 "$gateway" 2>/dev/null || { cat "$suite/gateway.log" >&2; fail "the gateway did not start"; }
    sleep 0.1
done

# The suite's own work, one thread of Python, is what takes minutes: in two processes, about half each.
rm -rf "$suite/reports"
spec() {
    cat >"$suite/spec-$1.json" <<SPEC
{
    "outdir": "$suite/reports/$1",
    "servers": [{"agent": "tidegate", "url": "ws://127.0.0.1:$port"}],
    "cases": [$2],
    "exclude-cases": [$3],
    "exclude-agent-cases": {}
}
SPEC
}
spec first '"*"' '"13.*"'
spec second '"13.*"' ''
parts=(first second)
for part in "${parts[@]}"; do
    PYTHONPATH="$suite/packages" timeout 1800 "$python" "$suite/packages/bin/wstest" \
        -m fuzzingclient -s "$suite/spec-$part.json" >"$suite/wstest-$part.log" 2>&1 &
    suites+=($!)
done
for index in "${!parts[@]}"; do
    wait "${suites[$index]}" || {
        tail -n 20 "$suite/wstest-${parts[$index]}.log" >&2
        fail "the suite did not run to its end"
    }
done
kill -0 "$gateway" 2>/dev/null || { cat "$suite/gateway.log" >&2; fail "the gateway did not survive"; }

python3 tests/conformance/judge.py tests/conformance/expected.json \
    "$suite/reports/first/index.json" "$suite/reports/second/index.json"
