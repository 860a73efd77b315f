#!/usr/bin/env bash
# Installs what yoloquant builds and tests with, on Debian 12 or Ubuntu 24.04. Safe to run again:
# what is there already is left alone, and a second run needs no network and under a second.
#
#   YOLOQUANT_DEPS    where the Python packages and unpacked headers go
#                     (default: ~/.cache/yoloquant/deps, shared by all clones)
#   Torch_DIR         an own LibTorch (folder with TorchConfig.cmake): none is installed then
#   ONNXRUNTIME_ROOT  an own ONNX Runtime release: none is installed then
set -euo pipefail

readonly DEPS="${YOLOQUANT_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/yoloquant/deps}"
readonly ORT_HEADER="$DEPS/sysroot/usr/include/onnxruntime/onnxruntime_cxx_api.h"
readonly GLOO_HEADER="$DEPS/sysroot/usr/include/gloo/algorithm.h"
readonly TORCH_VERSION=2.13.0 ORT_VERSION=1.31.1 ONNX_VERSION=1.23.2
readonly TENSORBOARD_VERSION=2.21.0
readonly PACKAGES=(
  g++ cmake ninja-build pkg-config python3 python3-venv unzip ccache mold git ca-certificates
  protobuf-compiler libprotobuf-dev
  libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev
  libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev libyaml-cpp-dev libsimdjson-dev
  libsqlite3-dev libzip-dev libssl-dev libgtest-dev libgmock-dev libbenchmark-dev gnuplot-nox
)
# Only for scripts/lint.sh; not every release has these names.
readonly LINT_PACKAGES=(clang-format-19 clang-tidy-19 codespell shellcheck)
# What the tests compare with: the real torch, onnx, onnxruntime, tensorboard and pycocotools in Python.
readonly PYTHON_PACKAGES=(
  typing_extensions sympy networkx filelock fsspec jinja2 numpy protobuf ml_dtypes pycocotools
  flatbuffers packaging "setuptools>=77.0.3"
)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "need root to run '$*': install sudo or run this script as root"; fi
}

missing_packages() {
  local installed package
  # It fails when it does not know one of them, and still lists the others.
  installed=$({ dpkg-query -W -f='${Status} ${Package}\n' "$@" 2>/dev/null || true; } |
    awk '/^install ok installed / {print $4}')
  for package in "$@"; do
    grep -qx -- "$package" <<<"$installed" || echo "$package"
  done
}

install_system_packages() {
  command -v dpkg-query >/dev/null || fail "this is no Debian or Ubuntu: install the packages named" \
    "at the top of $0 by hand"
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing ${#missing[@]} system packages: ${missing[*]}"
  as_root apt-get update -qq || fail "apt-get update failed: is there a network?"
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}"
}

pip_install() {
  local quiet=-qq
  [ -t 1 ] && quiet=--progress-bar=on
  PIP_ROOT_USER_ACTION=ignore "$DEPS/bin/python" -m pip install "$quiet" \
    --disable-pip-version-check --no-input "$@"
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }

# A build of torch for CUDA needs its companion packages even to load on a CPU.
torch_lacks_libraries() {
  ldd "$DEPS"/lib/python3*/site-packages/torch/lib/libtorch_cpu.so | grep -q 'not found'
}

install_wheels() {
  local stamp="$DEPS/.wheels" want
  want="torch=${Torch_DIR:-$TORCH_VERSION} ort=${ONNXRUNTIME_ROOT:-$ORT_VERSION} \
onnx=$ONNX_VERSION tensorboard=$TENSORBOARD_VERSION ${PYTHON_PACKAGES[*]}"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  [ -x "$DEPS/bin/python" ] || python3 -m venv "$DEPS" || fail "cannot make a venv in $DEPS"
  say "installing Python packages into $DEPS (LibTorch is large: this can take minutes)"
  pip_install "${PYTHON_PACKAGES[@]}"
  pip_install --no-deps "onnx==$ONNX_VERSION"
  # What reads event files needs little of what the server does.
  pip_install --no-deps "tensorboard==$TENSORBOARD_VERSION" absl-py ||
    say "no tensorboard: the test that reads event files with it will be skipped"
  if [ -z "${ONNXRUNTIME_ROOT:-}" ]; then
    if has_gpu; then
      pip_install --no-deps "onnxruntime-gpu==$ORT_VERSION" ||
        pip_install --no-deps "onnxruntime==$ORT_VERSION"
    else
      pip_install --no-deps "onnxruntime==$ORT_VERSION"
    fi
  fi
  if [ -z "${Torch_DIR:-}" ]; then
    pip_install --no-deps "torch==$TORCH_VERSION"
    if has_gpu || torch_lacks_libraries; then pip_install "torch==$TORCH_VERSION"; fi
  fi
  printf '%s\n' "$want" >"$stamp"
}

# The package mirror that this machine's own apt uses.
apt_mirror() {
  local lists=(/etc/apt/sources.list.d/*.sources)
  { awk '/^URIs:/ {print $2; exit}' "${lists[@]}" 2>/dev/null || true
    awk '/^deb / {for (i = 2; i <= NF; i++) if ($i ~ /^(https?|file|mirror)/) {print $i; exit}}' \
      /etc/apt/sources.list 2>/dev/null || true; } | head -n 1
}

# Headers that are unpacked, never installed. ONNX Runtime's come as a package only in newer
# releases of the distribution: an older API version works with the newer library. LibTorch contains
# gloo, but not the headers that its own include; their package would bring a second gloo.
install_headers() {
  local newer own components key id work
  # shellcheck source=/dev/null
  id=$(. /etc/os-release && echo "$ID")
  # shellcheck source=/dev/null
  own=$(. /etc/os-release && echo "$VERSION_CODENAME")
  case "$id" in
    debian) newer="trixie" components="main"
      key=/usr/share/keyrings/debian-archive-keyring.gpg ;;
    ubuntu) newer="resolute questing" components="main universe"
      key=/usr/share/keyrings/ubuntu-archive-keyring.gpg ;;
    *) newer="" own="" components="" key="" ;;
  esac
  work=$(mktemp -d)
  # shellcheck disable=SC2086  # several suites
  [ -n "${ONNXRUNTIME_ROOT:-}" ] || unpack_package "$ORT_HEADER" libonnxruntime-dev $newer ||
    fail "no package libonnxruntime-dev in \"$newer\": set ONNXRUNTIME_ROOT to a release"
  [ -f /usr/include/gloo/algorithm.h ] || unpack_package "$GLOO_HEADER" libgloo-dev "$own" ||
    fail "no package libgloo-dev in \"$own\": install gloo's headers in /usr/include/gloo"
  rm -rf "$work"
}

# unpack_package HEADER PACKAGE SUITE...: from the first suite that has it, unless HEADER is there.
# Uses components, key and work of its caller.
unpack_package() {
  local header=$1 package=$2 mirror suite
  shift 2
  [ -f "$header" ] && return 0
  mirror=$(apt_mirror)
  [ -n "$mirror" ] || { say "no package mirror in /etc/apt"; return 1; }
  say "unpacking the headers of $package"
  for suite in "$@"; do
    fetch_package "$work/$suite" "$mirror" "$suite" "$package" && break
  done
  [ -f "$header" ]
}

# Downloads with apt's own checks of signatures, but with lists and caches of its own.
fetch_package() {
  local work=$1 mirror=$2 suite=$3 package=$4
  mkdir -p "$work"/{parts,state/lists/partial,cache/archives/partial}
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n' \
    "$mirror" "$suite" "$components" "$key" >"$work/parts/one.sources"
  cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/parts";
Dir::State "$work/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$work/cache";
APT::Sandbox::User "$(id -un)";
CONF
  APT_CONFIG="$work/apt.conf" apt-get update -qq &&
    (cd "$work" && APT_CONFIG="$work/apt.conf" apt-get download -qq "$package") &&
    dpkg -x "$work/$package"*.deb "$DEPS/sysroot"
}

# One setup at a time in one folder: two clones may build at once.
lock_deps() {
  mkdir -p "$DEPS"
  exec 9>"$DEPS/.setup.lock"
  flock -n 9 || { say "waiting for another setup"; flock 9; }
}

install_system_packages "${PACKAGES[@]}"
# Checks are for developers: a system without these tools can still build and run.
(install_system_packages "${LINT_PACKAGES[@]}") ||
  say "some tools of scripts/lint.sh are missing; builds are not affected"
lock_deps
install_wheels
install_headers
say "ready (dependencies in $DEPS)"
