#!/usr/bin/env bash
# One queue for each core, and everything of a queue on its core: interrupt, receiving, sending. Then fq with
# room for a push in each queue, and polling in place of interrupts while packets come.
#
#   tuning/nic.sh --device eth0 [--connections 1000000] [--cores 0-15]    says what would be done
#   tuning/nic.sh --device eth0 --apply                                  does it; until the next boot
#
# UNTESTED: the queue count, ring sizes, interrupts and fq could not be tried where this was written (one
# virtual NIC with one queue, and a kernel without sch_fq). The commands are printed before they are run:
# read them, and try them on a host that serves nobody. Changing the number of queues takes the link down
# for a moment.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/common.sh"

device="" connections=1000000 cores=""
while [ $# -gt 0 ]; do
    case $1 in
    --device) device=${2:?} && shift ;;
    --connections) connections=${2:?} && shift ;;
    --cores) cores=${2:?} && shift ;;
    --root) root=${2:?} && shift ;;
    --apply) apply=yes ;;
    *) fail "$1: give --device NAME, --connections N, --cores LIST, --apply" ;;
    esac
    shift
done
[ -n "$device" ] || fail "--device says which NIC"
net=/sys/class/net/$device
[ -d "$root$net" ] || fail "there is no interface $device"
case $connections in '' | *[!0-9]*) fail "--connections is a whole number" ;; esac
mapfile -t core < <(expand "${cores:-$(cat "$root/sys/devices/system/cpu/online")}")
begin

# A queue for each core. More are of no use, fewer make some cores receive for others.
queues=$(find "$root$net/queues" -maxdepth 1 -name 'tx-*' | wc -l)
if [ "$queues" != "${#core[@]}" ]; then
    note "$queues queues for ${#core[@]} cores; undo: ethtool -L $device combined $queues"
    run ethtool -L "$device" combined "${#core[@]}" || note "the NIC refuses: it keeps $queues"
    if [ "$apply" = yes ]; then queues=$(find "$net/queues" -maxdepth 1 -name 'tx-*' | wc -l); else queues=${#core[@]}; fi
fi
# Descriptors: at 1.1 million packets a second in a queue (100 Gbit/s), 4,096 are 3.6 ms.
note "undo: ethtool -G $device with what \`ethtool -g $device\` says now"
run ethtool -G "$device" rx 4096 tx 4096 || note "the NIC refuses: see ethtool -g $device"

note "irqbalance would take the interrupts away again; undo: systemctl enable --now irqbalance"
run systemctl disable --now irqbalance || note "no irqbalance here"

mask() { # of one core, as the kernel writes it: groups of 32
    local group=$(($1 / 32)) text
    text=$(printf '%x' $((1 << ($1 % 32))))
    while [ "$group" -gt 0 ]; do text+=,00000000 group=$((group - 1)); done
    printf '%s' "$text"
}

# The interrupts of queue N on core N: drivers end their names in the number (eth0-TxRx-3, virtio0-input.3,
# mlx5_comp3@pci:…). Those without one (configuration, firmware) stay where they are.
irqs=$root$net/device/msi_irqs
[ -d "$irqs" ] || irqs=$root$net/device/../msi_irqs
for irq in $(find "$irqs" -mindepth 1 -maxdepth 1 -printf "%f\n" 2>/dev/null | sort -n); do
    action=$(find "$root/proc/irq/$irq" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' 2>/dev/null | head -n 1)
    action=${action%@*}
    number=${action##*[!0-9]}
    if [ -z "$number" ] || [ "$number" = "$action" ] || [ "$action" = "$device" ]; then
        note "interrupt $irq (${action:-unused}) belongs to no queue"
        continue
    fi
    put "${core[number % ${#core[@]}]}" "/proc/irq/$irq/smp_affinity_list"
done

for queue in $(find "$root$net/queues" -maxdepth 1 -name 'rx-*' -printf '%f\n' | sort -V); do
    # The NIC has spread them already (RSS).
    current=$(tr -d '0,\n' <"$root$net/queues/$queue/rps_cpus")
    if [ -n "$current" ]; then put 0 "$net/queues/$queue/rps_cpus"; fi
done
if [ "$queues" -gt 1 ]; then
    for queue in $(find "$root$net/queues" -maxdepth 1 -name 'tx-*' -printf '%f\n' | sort -V); do
        put "$(mask "${core[${queue#tx-} % ${#core[@]}]}")" "$net/queues/$queue/xps_cpus"
    done
fi

# fq: room for two packets of each connection that a queue serves, a power of two; 64 of one connection (the
# default is 100); and as many buckets as make short chains.
need=$((2 * connections / queues)) limit=1024
while [ "$limit" -lt "$need" ]; do limit=$((limit * 2)); done
note "$connections connections ÷ $queues queues × 2 packets = $need; undo: tc qdisc del dev $device root"
if [ "$queues" -gt 1 ]; then
    run tc qdisc replace dev "$device" root handle 1: mq
    for number in $(seq "$queues"); do
        run tc qdisc replace dev "$device" parent "1:$(printf '%x' "$number")" fq limit "$limit" flow_limit 64 buckets 65536
    done
else
    run tc qdisc replace dev "$device" root fq limit "$limit" flow_limit 64 buckets 65536
fi

# After ten rounds without packets interrupts are on again; between two rounds 20 µs.
put 10 "$net/napi_defer_hard_irqs"
put 20000 "$net/gro_flush_timeout"
note "set net.steer_by_cpu = true in the gateway's configuration: a connection then goes to the shard of its queue's core"
