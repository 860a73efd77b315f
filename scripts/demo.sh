#!/usr/bin/env bash
# Builds yoloquant and shows what it does on an example made on the spot: a small model is exported,
# quantized in several ways, trained with quantizers for a short time and evaluated; results are
# compared and drawn in a folder below tmp/demo/.
#
#   scripts/demo.sh [arguments of `yoloquant demo`, such as --model F.pt --data COCO_ROOT]
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

"$root/scripts/build.sh" release yoloquant_apps

# Paths in the arguments are relative to where the caller is; only the results' place is ours.
output=(--out "$root/tmp/demo/$(date -u +%Y%m%d-%H%M%S)-$$")
for argument in "$@"; do
  case "$argument" in --out | --out=*) output=() ;; esac
done
exec "$root/build/release/bin/yoloquant" demo "${output[@]}" "$@"
