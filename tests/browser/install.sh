#!/usr/bin/env bash
# Finds Chromium, or installs Debian's, and prints its path. Fails loudly: a client that no browser
# ran is not tested.
set -euo pipefail

find_chromium() {
    for name in "${TIDEGATE_CHROMIUM:-}" chromium chromium-headless-shell; do
        if [ -n "$name" ] && command -v "$name"; then
            return 0
        fi
    done
    return 1
}

if find_chromium; then
    exit 0
fi
echo "There is no Chromium: installing Debian's." >&2
as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq >&2
$as_root apt-get install -y -qq --no-install-recommends chromium >&2
find_chromium || {
    echo "Chromium could not be installed: install it, or set TIDEGATE_CHROMIUM to its path." >&2
    exit 1
}
