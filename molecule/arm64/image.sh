# Makes disk.img, vmlinuz and initrd.img of Debian 13 for arm64 in a folder: image.sh FOLDER PACKAGES
for program in qemu-system-aarch64 mmdebstrap mke2fs; do
  command -v $program >/dev/null || {
    echo "image.sh: $program is missing: apt-get install qemu-system-arm mmdebstrap e2fsprogs" >&2
    exit 1
  }
done
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || {
  echo "image.sh: packages for arm64 cannot be set up here: mount -t binfmt_misc binfmt_misc" \
    "/proc/sys/fs/binfmt_misc; apt-get install qemu-user-static binfmt-support arch-test;" \
    "update-binfmts --enable qemu-aarch64" >&2
  exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mmdebstrap --quiet --architectures=arm64 --variant=minbase --include="$2" \
  --customize-hook='systemctl --root="$1" enable systemd-networkd >/dev/null 2>&1' \
  --customize-hook='printf "[Match]\nName=en*\n[Network]\nDHCP=ipv4\n" > "$1/etc/systemd/network/wired.network"' \
  --customize-hook='echo pi > "$1/etc/hostname"; echo "127.0.1.1 pi" >> "$1/etc/hosts"' \
  trixie "$work/root"
# The emulator's own name server.
echo nameserver 10.0.2.3 > "$work/root/etc/resolv.conf"
mv "$work"/root/boot/vmlinuz-* "$1/vmlinuz"
mv "$work"/root/boot/initrd.img-* "$1/initrd.img"
truncate --size=8G "$work/disk.img"
mke2fs -q -t ext4 -d "$work/root" "$work/disk.img"
mv "$work/disk.img" "$1/disk.img"
