#!/usr/bin/env bash
# Builds the image for real, with and without a network, and trains and serves inside of it.
#
#   tests/image.sh [SCRIPT]     SCRIPT makes the base image where no registry can be reached
#
# QUICK=1 builds once, without a network, and runs that image for both journeys; without it the image is built twice.
# It needs root and buildah; without them, or without a base image, it says so and ends with 77.
set -euo pipefail
cd "$(dirname "$0")/.."
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=chroot
base=docker.io/library/python:3.11-slim
step() { printf '\n== %s (after %ss)\n' "$1" "$SECONDS"; }
cannot() { echo "the image cannot be built here: $1"; exit 77; }

[ "$(id -u)" = 0 ] || cannot "buildah without root is not tried"
present() { command -v buildah >/dev/null && buildah inspect --type image "$base" >/dev/null 2>&1; }
if ! present && [ -n "${1:-}" ]; then
    step "base image"
    bash "$1" >/dev/null
fi
command -v buildah >/dev/null || cannot "there is no buildah"
present || buildah pull -q "$base" >/dev/null 2>&1 || cannot "there is no $base"

work=$(mktemp -d)
containers=()
cleanup() {
    for container in "${containers[@]}"; do buildah rm "$container" >/dev/null 2>&1 || true; done
    for image in gluonts-shell-online gluonts-shell-offline; do buildah rmi "$image" >/dev/null 2>&1 || true; done
    rm -rf "$work"
}
trap cleanup EXIT

container() {  # of image $1, its name in $name and its root in $root
    name=$(buildah from --pull-never "$1")
    containers+=("$name")
    root=$(buildah mount "$name")
}
# A network namespace of its own has nothing but the loopback, which is down at first.
loopback='import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 1))'
without_network() { unshare --net bash -euc "python3 -c '$loopback'; [ \$(wc -l < /proc/net/route) -le 1 ]; \"\$@\"" - "$@"; }

# The build context: what git has, as a clone would, with a wheelhouse beside it for the build without a network.
step "wheelhouse"
mkdir "$work/context"
git ls-files -z -- . ':!tests' | xargs -0 cp --parents -t "$work/context"
container "$base"
basename=$name
buildah run -v "$work/context:/context" "$basename" -- \
    python -m pip wheel -q --no-cache-dir --wheel-dir /context/wheels /context "flit_core>=3.12,<4"
ls "$work/context/wheels"

arguments=(--pull=never --format docker --layers=false --build-arg GLUONTS_FORECASTER=mymodel.Scaled
    --build-arg SOURCE=https://forecast.example/source --build-arg REVISION=0123abc)
step "build without a network"
without_network buildah bud "${arguments[@]}" --build-arg WHEELHOUSE=wheels -t gluonts-shell-offline "$work/context" \
    >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
container gluonts-shell-offline
offline=$name offline_root=$root
online=$offline
if [ -z "${QUICK:-}" ]; then
    step "build with a network"
    buildah bud "${arguments[@]}" -t gluonts-shell-online "$work/context" \
        >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
    container gluonts-shell-online
    online=$name
fi

step "what the image is made of"
names() { sed 's/[= ].*//; s/_/-/g' | sort -u; }
listed() { buildah run "$1" -- python -m pip list --format=freeze 2>/dev/null; }
buildah run -v "$work/context:/context" "$basename" -- python -m pip install -q --dry-run --ignore-installed \
    --no-index --find-links /context/wheels --report /context/report.json gluonts packaging 2>/dev/null
{
    listed "$basename"
    python3 -c 'import json, sys
for item in json.load(sys.stdin)["install"]: print(item["metadata"]["name"])' <"$work/context/report.json"
    echo gluonts-shell
} | names >"$work/expected"
for image in "$offline" "$online"; do
    diff "$work/expected" <(listed "$image" | names) || { echo "the image has other distributions than these"; exit 1; }
done
size=$(stat -c %s "$work"/context/wheels/gluonts_shell-*.whl)
echo "the package is $size bytes, installed without caches $(find "$offline_root" -path '*/gluonts_shell/*' -type f \
    ! -name '*.pyc' -printf '%s\n' | paste -sd+ | bc)"
[ "$size" -lt 500000 ] || { echo "the package is larger than 500 kB"; exit 1; }
echo "numpy and pandas have $(find "$offline_root" -type d \( -path '*-packages/numpy' -o -path '*-packages/pandas' \) \
    -prune -print0 | du -cm --files0-from=- | tail -n 1 | cut -f 1) MB, without their tests"
left=$(find "$offline_root" -type d \( -path '*-packages/numpy/*' -o -path '*-packages/pandas/tests' \) -name tests)
[ -z "$left" ] || { echo "the image has the tests of others: $left"; exit 1; }
buildah inspect --type image gluonts-shell-offline >"$work/image.json"
python3 - "$work/image.json" "$work/environ" "$offline_root" <<'PYTHON'
import json, re, sys
config = json.load(open(sys.argv[1]))["Docker"]["config"]
environ = dict(item.split("=", 1) for item in config["Env"])
assert config["Entrypoint"] == ["python", "-m", "gluonts_shell"], config["Entrypoint"]
for capability in ("accept-bind-to-port", "multi-models"):
    assert config["Labels"][f"com.amazonaws.sagemaker.capabilities.{capability}"] == "true"
opencontainers = "org.opencontainers.image."
labels = {name: config["Labels"][opencontainers + name] for name in ("title", "version", "source", "revision")}
version = re.search('__version__ = "(.*)"', open("gluonts_shell/__init__.py").read())[1]
assert labels == {"title": "gluonts_shell", "version": version, "source": "https://forecast.example/source",
                  "revision": "0123abc"}, labels
bill = json.load(open(sys.argv[3] + config["Labels"]["gluonts_shell.sbom"]))
assert "gluonts" in [one["name"] for one in bill["components"]], bill
assert environ["PYTHONUNBUFFERED"] == environ["PYTHONDONTWRITEBYTECODE"] == "1"
assert environ["GLUONTS_FORECASTER"] == "mymodel.Scaled"
assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "gluonts_shell", "ping"], config["Healthcheck"]
print(*config["Env"], sep="\n", file=open(sys.argv[2], "w"))
PYTHON
cat >"$work/check" <<CHECK
import sys
sys.path.insert(0, "$PWD")
from gluonts_shell.cli import main
sys.exit(main(["ping"]))
CHECK

# What the journey brings along: itself and a wheel, made by hand.
mkdir "$work/bring"
cp tests/image_journey.py "$work/bring"
PYTHONPATH=. python3 -c "
from pathlib import Path
from tests.local_wheels import wheel
wheel(Path('$work/bring'), 'scaling', files={'scaling.py': 'FACTOR = 2\n'})"
journey=(python /bring/image_journey.py /data/ml /bring/scaling-1.0-py3-none-any.whl)

step "train and serve as root, with a network"
mkdir "$work/online"
buildah run -v "$work/bring:/bring:ro" -v "$work/online:/data" "$online" -- "${journey[@]}"

step "train and serve as another user, without a network, from a read-only root"
mkdir -p -m 777 "$work/offline" "$offline_root/data" "$offline_root/bring"
chmod 1777 "$offline_root/tmp"
chmod 755 "$work" "$work/bring"
cat >"$work/inside.sh" <<INSIDE
set -eu
mount --bind "$offline_root" "$offline_root"
mount -o remount,ro,bind "$offline_root"
mount -t tmpfs -o mode=1777 tmpfs "$offline_root/tmp"
mount --bind "$work/offline" "$offline_root/data"
mount --bind "$work/bring" "$offline_root/bring"
mount -t proc proc "$offline_root/proc"
mount --bind /dev "$offline_root/dev"
! touch "$offline_root/usr/probe" 2>/dev/null
mapfile -t environ <"$work/environ"
exec chroot --userspec=12345:12345 "$offline_root" /usr/bin/env -i "\${environ[@]}" GLUONTS_SHELL_OFFLINE=true ${journey[*]}
INSIDE
without_network unshare --mount --pid --fork bash "$work/inside.sh"

step "the health check tells a server that answers from one that does not"
cat >"$work/health.sh" <<'HEALTH'
set -eu
mount -t proc proc /proc
python3 "$1" 2>/dev/null || { echo "a container that trains is unhealthy"; exit 1; }
HEALTH
unshare --mount --pid --fork bash "$work/health.sh" "$work/check" train
sed 's/^python3 .*/! python3 "$1" 2>\/dev\/null || { echo "a server that is silent is healthy"; exit 1; }/' \
    "$work/health.sh" >"$work/silent.sh"
without_network unshare --mount --pid --fork bash "$work/silent.sh" "$work/check" serve

step "done"
