#!/usr/bin/env bash
# Follow a Dockerfile's steps on a bare Debian root, where no Docker engine is: make the root with debootstrap, run each RUN, COPY,
# ENV and WORKDIR as written, then the last CMD, or a command given instead.
#   sudo docker/try_on_debian.sh docker/Dockerfile /var/tmp/gristmill-root
#   sudo docker/try_on_debian.sh docker/worker.Dockerfile /var/tmp/worker-root gristmill demo --out /tmp/demo
# `FROM python:3.11-slim-bookworm` stands for Debian's own Python 3.11 behind the name `python`, in an environment of its own, and
# `FROM nvidia/cuda` for the root alone.
# pip's settings and the certificates of this machine are taken along; PASS="/a /b" lends folders of it that they point to.
set -euo pipefail

dockerfile=${1:?a Dockerfile} root=${2:?a folder for the root}
shift 2
source=$(cd "$(dirname "$dockerfile")/.." && pwd)
suite=bookworm mirror=${MIRROR:-http://deb.debian.org/debian}
declare -a variables=("DEBIAN_FRONTEND=noninteractive" "HOME=/root" "LANG=C.UTF-8")
path=/opt/base/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
folder=/

inside() { # run a shell line in the root, where and with what the steps so far have set
    chroot "$root" /usr/bin/env -i "${variables[@]}" "PATH=$path" /bin/sh -c "cd '$folder' && $1"
}

steps() { # the Dockerfile without comments, each instruction on one line
    sed -e '/^#/d' -e '/^$/d' "$1" | sed -e ':a' -e '/\\$/N; s/\\\n *//; ta'
}

if [ ! -x "$root/bin/sh" ]; then
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "$suite" "$root" "$mirror"
fi
mounted=()
cleanup() { for place in "${mounted[@]}"; do umount -l "$place"; done; }
trap cleanup EXIT
lend() { # source target
    mkdir -p "$2"
    mount --bind "$1" "$2"
    mounted=("$2" ${mounted[@]+"${mounted[@]}"})
}
lend /proc "$root/proc"
lend /dev "$root/dev"
mkdir -p "$root/dev/shm"
for place in ${PASS:-}; do lend "$place" "$root$place"; done
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
if [ -f /etc/pip.conf ]; then cp /etc/pip.conf "$root/etc/"; fi
while IFS= read -r variable; do variables+=("$variable"); done < <(env | grep -E '^(PIP_|SSL_CERT_FILE=|https?_proxy=)' || true)

command=""
while read -r word rest; do
    echo "== $word $rest"
    case $word in
    FROM)
        case $rest in
        python:3.11-slim-bookworm)
            inside "test -x /opt/base/bin/python || python3 -m venv /opt/base"
            inside "python -c 'import sys; assert sys.version_info[:2] == (3, 11)'"
            ;;
        nvidia/cuda:*) ;; # the root as it is: torch's wheel brings CUDA's libraries, and nothing here reaches a GPU
        *) echo "no stand-in for $rest" >&2; exit 2 ;;
        esac
        ;;
    RUN) inside "$rest" ;;
    WORKDIR) mkdir -p "$root$rest" && folder=$rest ;;
    COPY)
        [ "$rest" = ". ." ] || { echo "only \`COPY . .\` is known" >&2; exit 2; }
        git -C "$source" ls-files -z | tar -C "$source" --null -T - -cf - | tar -C "$root$folder" -xf -
        ;;
    ENV)
        for setting in $rest; do
            case $setting in
            PATH=*) value=${setting#PATH=} && path=${value//\$PATH/$path} ;;
            *) variables+=("$setting") ;;
            esac
        done
        ;;
    CMD) command=$(echo "$rest" | sed -e 's/^\[//' -e 's/\]$//' -e 's/", *"/" "/g') ;;
    *) echo "unknown instruction $word" >&2 && exit 2 ;;
    esac
done < <(steps "$dockerfile")
[ $# -eq 0 ] || command="$*"
echo "== $command"
inside "$command"
echo "== done"
