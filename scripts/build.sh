#!/usr/bin/env bash
# Sets up what is missing and builds yoloquant into build/PRESET.
#
#   scripts/build.sh [PRESET] [TARGET...]
#
# PRESET is release (default), debug or asan, see CMakePresets.json. JOBS limits parallel compilers
# (default: one a core, but not more than memory allows).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${1:-release}
[ $# -gt 0 ] && shift
case "$preset" in
  release | debug | asan) ;;
  *) echo "build: unknown preset '$preset': release, debug or asan" >&2; exit 2 ;;
esac
readonly folder="build/$preset"

./scripts/setup.sh

# Compiling against LibTorch takes up to 1.5 GB a process.
default_jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ {print int($2 / 1500000)}' /proc/meminfo)
  [ "$memory" -lt 1 ] && memory=1
  echo $((cores < memory ? cores : memory))
}

# Configured anew only when where to find things has changed; ninja does the rest by itself.
configuration="deps=${YOLOQUANT_DEPS:-} torch=${Torch_DIR:-} ort=${ONNXRUNTIME_ROOT:-} source=$PWD"
if [ ! -f "$folder/build.ninja" ] ||
  [ "$(cat "$folder/.configuration" 2>/dev/null)" != "$configuration" ]; then
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  echo "build: configuring $folder"
  if ! cmake --fresh --preset "$preset" >"$log" 2>&1; then
    cat "$log" >&2
    echo "build: error: cmake could not configure $folder (above)" >&2
    exit 1
  fi
  echo "$configuration" >"$folder/.configuration"
fi

export NINJA_STATUS='[%f/%t %es] '
cmake --build "$folder" --parallel "${JOBS:-$(default_jobs)}" ${1:+--target "$@"}
