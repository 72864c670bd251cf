#!/bin/bash
# The first process of a host, in namespaces of its own: private folders and accounts, then a network, then an sshd.
# Reads a line from standard input once its network card is there. FOLDER holds what is private to the host; KEEP
# names the folders of the machine that it must still see; NAME and ADDRESS are its own; SSHD is 1 where one is wanted.
set -euo pipefail
umask 022

read -r pid _ </proc/self/stat # as the machine counts it, whose /proc this still is
mount -t proc proc /proc
hostname "$NAME"

# A folder of the host's own in the place of the machine's, with the kept ones below it. By relative paths, which lead
# there (-c: mount must not look) even when FOLDER itself has been covered.
cd "$FOLDER"
private() {
    local place=$1 own=.$1 kept
    mkdir -p "$own"
    for kept in $KEEP; do
        case $kept in "$place"/*)
            mkdir -p "$own/${kept#"$place"/}"
            mount -c --rbind "$kept" "$own/${kept#"$place"/}"
            ;;
        esac
    done
    mount -c --rbind "$own" "$place"
}
for name in passwd shadow hosts resolv.conf; do
    [[ -e /etc/$name ]] && mount --bind "$FOLDER/etc/$name" "/etc/$name"
done
mount -t tmpfs -o size=1g,mode=1777 tmpfs /dev/shm
private /home
private /run
private /tmp
private /var/tmp
chmod 1777 /tmp /var/tmp
mkdir -p /run/sshd

echo "$pid"
read -r
ip link set lo up
ip link set eth0 up
ip address add "$ADDRESS/24" dev eth0

if [[ $SSHD == 1 ]]; then
    env -i /usr/sbin/sshd -D -e -f /home/sshd_config &
fi
while true; do # a shell buries the orphans that end up with the first process
    sleep 86400 &
    wait -n || true
done
