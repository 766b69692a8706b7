# An image of 60,000 files of a kilobyte in two layers, for measuring. Made with buildah.
#
# In: OUT, the OCI layout to make; WORK, an empty directory.
set -eu
umask 022
image=localhost/loam-fixture

store() { buildah --root "$WORK/store" --runroot "$WORK/run" --storage-driver overlay "$@"; }

# Makes a layer with the directories FIRST to LAST, of 1000 files each.
layer() {
    container=$(store from "$1")
    root=$(store mount "$container")
    mkdir -p "$root/bin" "$root/data"
    [ -e "$root/bin/busybox" ] || { cp "$(command -v busybox)" "$root/bin/busybox"; ln -s busybox "$root/bin/sh"; }
    for directory in $(seq -w "$2" "$3"); do
        mkdir "$root/data/$directory"
        head -c 750000 /dev/urandom | base64 -w 0 | (cd "$root/data/$directory" && split -b 1000 -a 3 -d - part-)
    done
    store config --entrypoint '["/bin/busybox"]' --cmd sh --env PATH=/bin "$container"
    store commit -q --format oci "$container" "$image:$4" >/dev/null
    store rm "$container" >/dev/null
}

layer scratch 00 39 first
layer "$image:first" 40 59 second
store push -q "$image:second" "oci:$OUT:latest" >/dev/null
