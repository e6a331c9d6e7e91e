# Shared by the scripts beside it: every change is printed, and made only with --apply.
# shellcheck shell=bash

apply=no
# A copy of a host (proc and sys under it): what would be done there can be seen, not done.
root=

fail() {
    echo "${0##*/}: $*" >&2
    exit 2
}

note() { printf '# %s\n' "$*"; }

# Runs a command, or only says it.
run() {
    printf '%s\n' "$*"
    if [ "$apply" = yes ]; then "$@"; fi
}

# Writes a value into a file of /proc or /sys, or only says it; says what undoes it.
put() {
    local value=$1 file=$2 before
    before=$(cat "$root$file" 2>/dev/null) || before='?'
    before=$(echo "$before" | tr -s '[:space:]' ' ' | sed 's/ $//')
    [ "$before" != "$value" ] || return 0
    printf 'echo %s > %s  # undo: echo %s\n' "$value" "$file" "$before"
    # Some drivers keep what they have (interrupts that the kernel manages, a single queue).
    if [ "$apply" = yes ] && ! printf '%s\n' "$value" 2>/dev/null >"$file"; then note "refused: $file stays as it is"; fi
}

begin() {
    [ -z "$root" ] || [ "$apply" = no ] || fail "--root and --apply: a copy of a host cannot be changed"
    if [ "$apply" = yes ]; then
        [ "$(id -u)" = 0 ] || fail "--apply needs root"
        note "applying:"
    else
        note "nothing is changed; with --apply, this would be done:"
    fi
}

# The numbers of a list such as 0-3,8.
expand() {
    local range
    for range in ${1//,/ }; do seq "${range%-*}" "${range#*-}"; done
}
