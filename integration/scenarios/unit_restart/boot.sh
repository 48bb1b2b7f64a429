# systemd as the first process of this PID namespace, with nothing of a boot. What it could clean up is its own.
mount --make-rprivate /
mount -t tmpfs tmpfs /tmp
mkdir -p /sys/fs/cgroup
grep -q ' /sys/fs/cgroup cgroup2 ' /proc/mounts || mount -t cgroup2 cgroup2 /sys/fs/cgroup
export container=lvsd
exec /usr/lib/systemd/systemd --system --unit=lab.target --log-target=console --show-status=0 \
    > /run/lvsd-unit/systemd.log 2>&1
