#!/usr/bin/env bash
# Installs what yoloquant builds and tests with, on Debian 12 or Ubuntu 24.04. Safe to run again:
# what is there already is left alone, and a second run takes a second.
#
#   YOLOQUANT_DEPS    where the Python packages and unpacked headers go
#                     (default: ~/.cache/yoloquant/deps, shared by all clones)
#   Torch_DIR         an own LibTorch (folder with TorchConfig.cmake): none is installed then
#   ONNXRUNTIME_ROOT  an own ONNX Runtime release: none is installed then
set -euo pipefail

readonly DEPS="${YOLOQUANT_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/yoloquant/deps}"
readonly TORCH_VERSION=2.13.0 ORT_VERSION=1.31.1 ONNX_VERSION=1.23.2
readonly PACKAGES=(
  g++ cmake ninja-build pkg-config python3-venv unzip ccache mold git ca-certificates
  protobuf-compiler libprotobuf-dev
  libopencv-core-dev libopencv-imgproc-dev libopencv-imgcodecs-dev
  libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev libyaml-cpp-dev libsimdjson-dev
  libsqlite3-dev libzip-dev libssl-dev libgtest-dev libgmock-dev libbenchmark-dev gnuplot-nox
)
# Only for the checks of scripts/lint.sh; the names differ between distributions.
readonly LINT_PACKAGES=(clang-format-19 clang-tidy-19 codespell)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else fail "need root to run '$*': install sudo or run as root"; fi
}

missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

install_system_packages() {
  command -v apt-get >/dev/null || fail "apt-get not found: Debian 12 or Ubuntu 24.04 is needed"
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing ${#missing[@]} system packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  as_root apt-get update -qq
  as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}"
}

install_wheels() {
  local stamp="$DEPS/.wheels" want
  want="torch=${Torch_DIR:-$TORCH_VERSION} ort=${ONNXRUNTIME_ROOT:-$ORT_VERSION} onnx=$ONNX_VERSION 3"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return 0
  [ -x "$DEPS/bin/pip" ] || python3 -m venv "$DEPS" || fail "cannot make a venv in $DEPS"
  local pip=("$DEPS/bin/pip" install -q --disable-pip-version-check)
  local gpu=; command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1 && gpu=1
  say "installing LibTorch $TORCH_VERSION, ONNX Runtime $ORT_VERSION and ONNX $ONNX_VERSION"
  "${pip[@]}" --no-deps "onnx==$ONNX_VERSION"
  if [ -z "${ONNXRUNTIME_ROOT:-}" ]; then
    "${pip[@]}" --no-deps "onnxruntime${gpu:+-gpu}==$ORT_VERSION" ||
      "${pip[@]}" --no-deps "onnxruntime==$ORT_VERSION"
  fi
  if [ -z "${Torch_DIR:-}" ]; then
    "${pip[@]}" --no-deps "torch==$TORCH_VERSION"
    # A build of torch for CUDA needs its companion packages even to load on a CPU.
    if [ -n "$gpu" ] || ldd "$DEPS"/lib/python3*/site-packages/torch/lib/libtorch_cpu.so |
        grep -q 'not found'; then
      "${pip[@]}" "torch==$TORCH_VERSION"
    fi
  fi
  # What the tests compare with: the real torch, onnx and pycocotools in Python.
  "${pip[@]}" typing_extensions sympy networkx filelock fsspec jinja2 numpy protobuf ml_dtypes \
    pycocotools flatbuffers packaging
  echo "$want" >"$stamp"
}

# The mirror that this machine's own apt configuration uses.
apt_mirror() {
  { cat /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/ubuntu.sources 2>/dev/null |
      awk '/^URIs:/ {print $2; exit}'
    awk '/^deb / {for (i = 2; i <= NF; i++) if ($i ~ /^(https?|file|mirror)/) {print $i; exit}}' \
      /etc/apt/sources.list 2>/dev/null || true; } | head -n 1
}

# ONNX Runtime's headers exist only as a package of newer releases: unpacked, never installed. An
# older API version works with the newer library.
install_ort_headers() {
  [ -n "${ONNXRUNTIME_ROOT:-}" ] && return 0
  [ -f "$DEPS/sysroot/usr/include/onnxruntime/onnxruntime_cxx_api.h" ] && return 0
  local mirror suites key work id suite
  id=$(. /etc/os-release && echo "$ID")
  case "$id" in
    debian) suites="trixie"; key=/usr/share/keyrings/debian-archive-keyring.gpg ;;
    ubuntu) suites="resolute questing"; key=/usr/share/keyrings/ubuntu-archive-keyring.gpg ;;
    *) fail "do not know where $id keeps ONNX Runtime's headers: set ONNXRUNTIME_ROOT" ;;
  esac
  mirror=$(apt_mirror)
  [ -n "$mirror" ] || fail "no package mirror in /etc/apt: set ONNXRUNTIME_ROOT"
  say "unpacking ONNX Runtime's headers"
  work=$(mktemp -d)
  for suite in $suites; do
    fetch_ort_headers "$work" "$mirror" "$suite" "$key" && break
  done
  rm -rf "$work"
  [ -f "$DEPS/sysroot/usr/include/onnxruntime/onnxruntime_cxx_api.h" ] ||
    fail "package libonnxruntime-dev not found on $mirror ($suites): set ONNXRUNTIME_ROOT to a release"
}

fetch_ort_headers() {
  local work=$1 mirror=$2 suite=$3 key=$4 apt="$1/$3"
  mkdir -p "$apt"/{parts,state/lists/partial,cache/archives/partial}
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main universe\nSigned-By: %s\n' \
    "$mirror" "$suite" "$key" >"$apt/parts/newer.sources"
  [ "$suite" = trixie ] && sed -i 's/ universe//' "$apt/parts/newer.sources"
  cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$apt/parts";
Dir::State "$apt/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$apt/cache";
APT::Sandbox::User "root";
CONF
  APT_CONFIG="$apt/apt.conf" apt-get update -qq &&
    (cd "$apt" && APT_CONFIG="$apt/apt.conf" apt-get download -qq libonnxruntime-dev) &&
    dpkg -x "$apt"/libonnxruntime-dev*.deb "$DEPS/sysroot"
}

install_system_packages "${PACKAGES[@]}"
# Checks are for developers: a distribution without these tools can still build and run.
(install_system_packages "${LINT_PACKAGES[@]}") || say "lint tools are incomplete; builds are not affected"
mkdir -p "$DEPS"
install_wheels
install_ort_headers
say "ready (dependencies in $DEPS)"
