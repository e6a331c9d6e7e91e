#!/usr/bin/env bash
# The processors' governor and transparent huge pages.
#
#   tuning/cpu.sh             says what would be done
#   tuning/cpu.sh --apply     does it; until the next boot
#
# UNTESTED: the governor could not be tried where this was written (no cpufreq in a virtual machine).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

while [ $# -gt 0 ]; do
    case $1 in
    --root) root=${2:?} && shift ;;
    --apply) apply=yes ;;
    *) fail "$1: give --apply" ;;
    esac
    shift
done
begin
found=no
for governor in "$root"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; do
    [ -e "$governor" ] || continue
    found=yes
    put performance "${governor#"$root"}"
done
[ "$found" = yes ] || note "no cpufreq: the hypervisor or the firmware decides"
pages=/sys/kernel/mm/transparent_hugepage/enabled
case $(cat "$root$pages" 2>/dev/null || true) in
*'[always]'*) put madvise "$pages" ;;
*) note "transparent huge pages are not 'always', or cannot be read" ;;
esac
note "at boot: transparent_hugepage=madvise, and thash_entries=1048576 for a million connections"
