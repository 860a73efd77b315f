#!/usr/bin/env bash
# Runs the benchmarks of bench/: programs NAME.sh and NAME.py, each of which measures yoloquant and
# its peer in one run.
#
#   scripts/bench.sh                    lists them
#   scripts/bench.sh NAME [arguments]   runs one
#   scripts/bench.sh --all              runs all, one after the other
#
# Peers are for measuring only and are installed by the benchmark that needs them.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
shopt -s nullglob

benchmarks() {
  local file
  for file in "$root"/bench/*.sh "$root"/bench/*.py; do
    # Files without a first line that names an interpreter are modules of others.
    if head -c 2 "$file" | grep -q '^#!'; then printf '%s\n' "$file"; fi
  done
}

# The first line of a program's comment or docstring.
summary_of() {
  sed -n '2,5p' "$1" | sed -nE 's/^(# |""")(.+)/\2/p' | head -n 1
}

list() {
  local file name
  echo "Benchmarks (scripts/bench.sh NAME):"
  while IFS= read -r file; do
    name=$(basename "$file")
    printf '  %-24s %s\n' "${name%.*}" "$(summary_of "$file")"
  done < <(benchmarks)
}

run() {
  local name=$1 file
  shift
  for file in "$root/bench/$name.sh" "$root/bench/$name.py"; do
    [ -f "$file" ] || continue
    echo "bench: $name"
    case "$file" in
      *.sh) bash "$file" "$@" ;;
      *.py) "$python" "$file" "$@" ;;
    esac
    return
  done
  echo "bench: error: no benchmark '$name'" >&2
  list >&2
  return 2
}

python="${YOLOQUANT_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/yoloquant/deps}/bin/python"
case "${1:-}" in
  "" | --list) list ;;
  -h | --help) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" ;;
  --all)
    "$root/scripts/build.sh" release
    while IFS= read -r file; do
      name=$(basename "$file")
      run "${name%.*}" </dev/null
    done < <(benchmarks)
    ;;
  -*) echo "bench: error: unknown option $1" >&2; exit 2 ;;
  *)
    "$root/scripts/build.sh" release
    run "$@"
    ;;
esac
