#!/bin/sh
# Puts the Lua client where kumod looks for it; makes a directory for the node store, and on the first run a key for it.
#
#   sh lua-client/install.sh                                  on a node, as root
#   DESTDIR=/tmp/package PREFIX=/opt/kumomta sh lua-client/install.sh
#
# Again, and it brings the files up to date; a key that is there is never touched.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
prefix=${PREFIX:-/opt/kumomta}
share=$root$prefix/share/policyd
keys=$root$prefix/etc/policyd
key=$keys/store.key
store=$root/var/spool/kumomta/policyd
status=0
theirs=

say() { printf '  %s\n' "$*"; }

complain() {
    say "$*" >&2
    status=1
}

# Each file takes its place whole: kumod may read it at any moment.
put() {
    cp "$1" "$2.new.$$"
    chmod 644 "$2.new.$$"
    mv -f "$2.new.$$" "$2"
}

# A directory that only kumod enters; one that is there stays as it is.
private() {
    if [ ! -d "$1" ]; then
        mkdir -p "$(dirname "$1")"
        mkdir -m 700 "$1"
        theirs="$theirs $1"
    fi
}

install_files() {
    mkdir -p "$share"
    count=0
    for file in "$here"/policyd/*.lua; do
        put "$file" "$share/$(basename "$file")"
        count=$((count + 1))
    done
    for file in "$share"/*.lua; do
        if [ ! -e "$here/policyd/$(basename "$file")" ]; then rm -f "$file"; fi
    done
    say "$count files in $share"
}

make_key() {
    (umask 077 && head -c 64 /dev/urandom > "$key.new.$$")
    # A link, because it fails where somebody was quicker.
    if ln "$key.new.$$" "$key" 2> /dev/null; then
        theirs="$theirs $key"
        say "a new store key in $key"
    fi
    rm -f "$key.new.$$"
}

look_at_key() {
    say "the store key $key is left as it is"
    size=$(wc -c 2> /dev/null < "$key" | tr -d ' ') || size=
    if [ -n "$size" ] && [ "$size" != 64 ]; then
        complain "it has $size bytes, and 64 are needed: move it away, and run this again"
    fi
    if [ -n "$(find "$key" -perm /077 2> /dev/null)" ]; then
        complain "others may read it: chmod 600 $key"
    fi
}

before=no
if [ -e "$share/init.lua" ]; then before=yes; fi
install_files
private "$keys"
private "$store"
if [ -e "$key" ]; then look_at_key; else make_key; fi

if [ -n "$theirs" ] && [ -n "$root" ]; then
    say "for a package: they belong to kumod:$theirs"
    say "and leave the key out: each host makes its own, by (umask 077; head -c 64 /dev/urandom > $prefix/etc/policyd/store.key)"
elif [ -n "$theirs" ] && [ "$(id -u)" = 0 ] && id kumod > /dev/null 2>&1; then
    # shellcheck disable=SC2086 # none of them holds a blank
    chown kumod: $theirs
    say "they belong to kumod:$theirs"
elif [ -n "$theirs" ]; then
    say "kumod has to own them: chown kumod:$theirs"
fi
say "in the policy: store_key = '$prefix/etc/policyd/store.key', store = '/var/spool/kumomta/policyd/store.db'"
if [ $before = yes ]; then
    say "restart kumod now: until then it runs what it has loaded beside what it finds here"
fi
say "to remove: rm -r $share; the key and the node store are yours to keep or to delete"
exit $status
