#!/usr/bin/env bash
# The corpora of the fuzzers are kept minimised, an archive for each target: fuzz/corpora/TARGET.tar.gz.
#
#   fuzz/corpus.sh unpack            makes fuzz/corpus/TARGET of each; what is there already stays
#   fuzz/corpus.sh keep TARGET…      minimises fuzz/corpus/TARGET and packs it; the fuzzer must be built
set -euo pipefail
cd "$(dirname "$0")"

case ${1:-} in
unpack)
    mkdir -p corpus
    for archive in corpora/*.tar.gz; do tar -xzf "$archive" -C corpus; done
    ;;
keep)
    shift
    for target in "$@"; do
        least=$(mktemp -d)
        mkdir "$least/$target"
        "target/$(rustc -vV | sed -n 's/^host: //p')/release/$target" \
            -merge=1 "$least/$target" "corpus/$target" >"$least/log" 2>&1 \
            || { tail -n 20 "$least/log" >&2; exit 1; }
        # The same inputs make the same bytes.
        tar -C "$least" --sort=name --owner=0 --group=0 --mtime=@0 -cf - "$target" | gzip -9n >"corpora/$target.tar.gz"
        rm -rf "$least"
    done
    ;;
*)
    sed -n 's/^#   //p' "$0" >&2
    exit 2
    ;;
esac
