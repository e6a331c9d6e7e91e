#!/usr/bin/env bash
# Makes the Debian package: the binaries, what is generated from them, and the package. Needs cargo-deb.
#
#   systemd/deb/build.sh               builds everything
#   systemd/deb/build.sh --generate    only man pages and completions, of the binary that is there
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=target/release/tidegate package=target/package
if [ "${1:-}" != --generate ]; then
    command -v cargo-deb >/dev/null || {
        echo "systemd/deb/build.sh: cargo-deb is missing: cargo install cargo-deb --locked" >&2
        exit 1
    }
    cargo build --release --bins
fi
binary=${TIDEGATE_BINARY:-$binary}
rm -rf "$package"
"$binary" man "$package/man"
"$binary" completions bash >"$package/tidegate.bash"
"$binary" completions zsh >"$package/_tidegate"
"$binary" completions fish >"$package/tidegate.fish"
if [ "${1:-}" != --generate ]; then
    cargo deb --no-build
fi
