#!/usr/bin/env bash
# Builds yoloquant and runs its tests. From a fresh clone this is the one command needed.
#
#   scripts/test.sh [--preset release|debug|asan] [ctest arguments]
#   scripts/test.sh -R graph            only tests whose name matches
#
# Tests that compare with published data look for it in ../shared or $YOLOQUANT_SHARED and are
# skipped where it is missing. The last line is ctest's verdict.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=release
if [ "${1:-}" = --preset ]; then
  preset=${2:?--preset needs a name}
  shift 2
fi
./scripts/build.sh "$preset"

# Several libraries bring a thread pool each: unpinned they slow one another down.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
export CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-$(nproc)}

readonly log="build/$preset/ctest.log"
status=0
ctest --preset "$preset" --no-tests=error "$@" 2>&1 | tee "$log" || status=$?
# Skipped tests are listed after the verdict; it is repeated so that it is the last line.
verdict=$(grep -E '^[0-9]+% tests passed, ' "$log" | tail -n 1 || true)
[ -z "$verdict" ] || echo "$verdict"
exit "$status"
