# Makes disk.img, vmlinuz and initrd.img of Debian 13 for arm64 in a folder: image.sh FOLDER
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
# What every test host has, and what a machine needs besides.
host=$(cd "$(dirname "$0")/../.." && python3 -c 'from tools.testhosts import IMAGE_PACKAGES; print(IMAGE_PACKAGES)')
machine=linux-image-arm64-16k,initramfs-tools,zstd,udev,netbase,nftables
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mmdebstrap --quiet --architectures=arm64 --variant=minbase --include="$host,$machine" \
  --customize-hook='systemctl --root="$1" enable systemd-networkd >/dev/null 2>&1' \
  --customize-hook='printf "[Match]\nName=en*\n[Network]\nDHCP=ipv4\n" > "$1/etc/systemd/network/wired.network"' \
  --customize-hook='echo pi > "$1/etc/hostname"; echo "127.0.1.1 pi" >> "$1/etc/hosts"' \
  trixie "$scratch/system"
# The emulator's own name server.
echo nameserver 10.0.2.3 > "$scratch/system/etc/resolv.conf"
mv "$scratch"/system/boot/vmlinuz-* "$1/vmlinuz"
mv "$scratch"/system/boot/initrd.img-* "$1/initrd.img"
truncate --size=8G "$scratch/disk.img"
mke2fs -q -t ext4 -d "$scratch/system" "$scratch/disk.img"
mv "$scratch/disk.img" "$1/disk.img"
