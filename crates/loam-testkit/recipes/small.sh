# The small image: Debian's static busybox in one layer, with a link for each of its commands. Made with umoci.
#
# In: OUT, the OCI layout to make; WORK, an empty directory.
set -eu
umask 022

umoci init --layout "$OUT"
umoci new --image "$OUT:latest"
umoci unpack --image "$OUT:latest" "$WORK/bundle" >"$WORK/log" 2>&1 || { cat "$WORK/log" >&2; exit 1; }
root=$WORK/bundle/rootfs

mkdir -p "$root/bin" "$root/dev" "$root/etc" "$root/home" "$root/proc" "$root/root" "$root/sbin" "$root/sys" \
    "$root/tmp" "$root/usr/bin" "$root/usr/sbin" "$root/var/run"
chmod 0700 "$root/root"
chmod 1777 "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
"$root/bin/busybox" --list-full | while read -r path; do
    [ "$path" = bin/busybox ] || ln -s /bin/busybox "$root/$path"
done
cat >"$root/etc/passwd" <<END
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/home:/bin/false
END
cat >"$root/etc/group" <<END
root:x:0:
nogroup:x:65534:
END
mkdir -p "$root/var/www"
echo 'hello from the small image' >"$root/var/www/index.html"

umoci repack --image "$OUT:latest" "$WORK/bundle"
umoci config --image "$OUT:latest" --config.cmd sh --config.env PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    --config.label org.opencontainers.image.title=small
umoci gc --layout "$OUT"
