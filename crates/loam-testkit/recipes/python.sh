# A Debian system with Python, and an application on top of it, in six layers that hold what real ones do: deletions,
# a directory that is replaced as a whole, hard links, file capabilities, devices, names and times of all sorts, and
# a user who is not root. Made with mmdebstrap and buildah.
#
# In: OUT, the OCI layout to make, with the tags `gzip`, `zstd` and `index`; WORK, an empty directory; RECIPE, the
# directory with the application; SUITE and SOURCES, the distribution's name and its lines of sources.list.
set -eu
umask 022
image=localhost/loam-fixture

store() { buildah --root "$WORK/store" --runroot "$WORK/run" --storage-driver overlay "$@"; }

# Begins a layer on top of an image (or `scratch`): sets `container` and `root`.
begin() {
    container=$(store from "$1")
    root=$(store mount "$container")
}

# Ends it as IMAGE:$1.
end() {
    store commit -q --format oci "$container" "$image:$1" >/dev/null
    store rm "$container" >/dev/null
}

inside() { store run --isolation chroot "$container" -- "$@"; }
install() {
    inside env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
        -o APT::Sandbox::User=root install "$@" >"$WORK/log" 2>&1 || { cat "$WORK/log" >&2; exit 1; }
}

# 1. The system.
begin scratch
case $SOURCES in *https:*) include=ca-certificates ;; *) include= ;; esac
printf '%s\n' "$SOURCES" | mmdebstrap --quiet --variant=minbase ${include:+"--include=$include"} --aptopt='Acquire::Languages "none"' \
    --aptopt='APT::Sandbox::User "root"' --skip=cleanup/apt/lists "$SUITE" "$root" - >"$WORK/log" 2>&1 ||
    { cat "$WORK/log" >&2; exit 1; }
store config --cmd /bin/bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env LANG=C.UTF-8 "$container"
end system

# 2. Python.
begin "$image:system"
install python3
end python

# 3. Libraries of the application, and a copy of Python that may bind low ports.
begin "$image:python"
install python3-pip python3-venv python3-flask python3-lxml libcap2-bin
cp "$(readlink -f "$root/usr/bin/python3")" "$root/usr/local/bin/python-net"
inside setcap cap_net_bind_service+ep /usr/local/bin/python-net
end libraries

# 4. The application.
begin "$image:libraries"
inside useradd --create-home --uid 1000 --shell /bin/sh app
mkdir -p "$root/srv/app/static/old/deep" "$root/srv/app/data/private" "$root/srv/app/odd"
cp "$RECIPE/server.py" "$RECIPE/index.html" "$root/srv/app/"
for number in 1 2 3 4; do echo "page $number" >"$root/srv/app/static/old/$number.html"; done
echo deep >"$root/srv/app/static/old/deep/page.html"
echo shared >"$root/srv/app/data/one"
ln "$root/srv/app/data/one" "$root/srv/app/data/two"
ln "$root/srv/app/data/one" "$root/srv/app/linked"
ln -s ../data/one "$root/srv/app/odd/relative"
ln -s /srv/app/data/one "$root/srv/app/odd/absolute"
ln -s nowhere "$root/srv/app/odd/dangling"
mkfifo -m 0640 "$root/srv/app/odd/fifo"
mknod -m 0666 "$root/srv/app/odd/null" c 1 3
mkdir "$root/srv/app/odd/a-directory" "$root/srv/app/odd/an empty directory"
echo file >"$root/srv/app/odd/a-file"
echo inside >"$root/srv/app/odd/a-directory/inside"
echo name >"$root/srv/app/odd/$(printf 'latin-1 \344, newline \n, end')"
long=$(printf '%0120d' 0)
mkdir -p "$root/srv/app/odd/$long/$long"
echo long >"$root/srv/app/odd/$long/$long/$long"
printf '#!/bin/sh\nid\n' >"$root/srv/app/odd/set-user-id"
chmod 4755 "$root/srv/app/odd/set-user-id"
chown 1000:65534 "$root/srv/app/odd/a-file"
chmod 0 "$root/srv/app/odd/a-file"
chmod 3777 "$root/srv/app/odd/an empty directory"
inside python3 -c 'import os; os.setxattr("/srv/app/data/one", "user.origin", b"a\0b")'
touch -d '1999-12-31T23:59:59.123456789Z' "$root/srv/app/data/one"
touch -h -d '1987-01-02T03:04:05Z' "$root/srv/app/odd/dangling"
inside chown -R app:app /srv/app/data
chmod 0700 "$root/srv/app/data/private"
end application

# 5. Tidying up: deletions, a directory replaced as a whole, files and directories changed into one another.
begin "$image:application"
rm -rf "$root"/var/lib/apt/lists/* "$root/usr/share/locale" "$root/usr/share/man"
find "$root/usr/share/doc" -depth -type f ! -name copyright -delete
rm -rf "$root/srv/app/static"
mkdir -p "$root/srv/app/static/new"
echo 'new page' >"$root/srv/app/static/new/page.html"
rm "$root/srv/app/linked" "$root/srv/app/odd/a-file"
rm -r "$root/srv/app/odd/a-directory"
mkdir "$root/srv/app/odd/a-file"
echo 'was a directory' >"$root/srv/app/odd/a-directory"
end tidy

# 6. Last touches: changed attributes, a further link to a file of a lower layer, a moved directory.
begin "$image:tidy"
ln "$root/srv/app/data/two" "$root/srv/app/data/three"
mv "$root/srv/app/odd/an empty directory" "$root/srv/app/odd/moved"
chmod 0711 "$root/home/app"
chown -h 1000:1000 "$root/srv/app/odd/relative"
echo 'greeting = "hello from the application"' >"$root/etc/app.conf"
store config --user app --workingdir /srv/app --port 8000/tcp --stop-signal SIGINT \
    --env APP_GREETING='hello from the environment' --env PYTHONUNBUFFERED=1 \
    --entrypoint '["python3", "/srv/app/server.py"]' --cmd '--port 8000' \
    --label org.opencontainers.image.title=python --label app.example/tier='web, front' "$container"
end last

store push -q "$image:last" "oci:$OUT:gzip" >/dev/null
store push -q --compression-format zstd "$image:last" "oci:$OUT:zstd" >/dev/null

# An index of two platforms; the other one is never to be chosen here.
case $(store inspect --format '{{.OCIv1.Architecture}}' "$image:last") in arm64) other=amd64 ;; *) other=arm64 ;; esac
begin scratch
echo "for $other" >"$root/wrong-platform"
store config --arch "$other" --cmd /wrong-platform "$container"
end other
store manifest create "$image:index" >/dev/null
store manifest add "$image:index" "containers-storage:$image:other" >/dev/null
store manifest add "$image:index" "oci:$OUT:gzip" >/dev/null
store manifest push -q --all "$image:index" "oci:$OUT:index" >/dev/null
