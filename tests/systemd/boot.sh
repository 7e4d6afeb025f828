#!/bin/bash
# Boots systemd over an overlay of this machine. Runs as the first process of new mount, pid, uts, ipc and cgroup
# namespaces, in a cgroup2 folder of its own; the network is the machine's, so that tests can connect. What is written
# goes to a tmpfs and is gone with the namespaces.
#
#     boot.sh FOLDER UNITS PATH…   an empty folder; a folder with unit files and drop-ins (all.target among them); what is
#                                  to be seen in there although it may be on another file system than /
set -e
base=$1; units=$2
shift 2
mount --make-rprivate /
mount -t tmpfs tmpfs "$base"
mkdir -p "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
root=$base/root
for path in "$@"; do
    mkdir -p "$root$path"
    mount --rbind "$path" "$root$path"
done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root/dev/pts" "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
touch "$root/dev/console"
mount --bind /dev/null "$root/dev/console"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --bind -o ro "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
rm -f "$root"/etc/systemd/system/*.wants/* 2> /dev/null || true
cp -r "$units"/. "$root/etc/systemd/system/"
echo audiohook-test > "$root/etc/hostname"
cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
exec env -i container=audiohook PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set -sys_module,-sys_time,-sys_rawio,-mknod \
    /lib/systemd/systemd --system --unit=all.target --log-target=journal --show-status=no
