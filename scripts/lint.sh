#!/usr/bin/env bash
# Checks everything that is not a test. Without names, all of:
#
#   format    clang-format, as in .clang-format
#   tidy      clang-tidy, as in .clang-tidy (needs a build; see scripts/tidy.py)
#   layers    no layer of src/ includes a higher one
#   spelling  codespell
#   rules     files stay short; no machine's own paths or hosts in them
#   shell     shellcheck
#
#   scripts/lint.sh [--fix] [NAME...]     --fix rewrites what clang-format would
#
# TIDY_LIMIT bounds clang-tidy's seconds. The last line is "N passed, N failed".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MAX_LINES=500
readonly TREE=build/release

fix=
names=()
for argument in "$@"; do
  case "$argument" in
    --fix) fix=1 ;;
    format | tidy | layers | spelling | rules | shell) names+=("$argument") ;;
    *) echo "lint: unknown check '$argument' (see the top of $0)" >&2; exit 2 ;;
  esac
done
[ ${#names[@]} -gt 0 ] || names=(format layers spelling rules shell tidy)

need() {
  command -v "$1" >/dev/null && return 0
  echo "$1 is not installed: run ./scripts/setup.sh"
  return 1
}

# The project's files that match, tracked or about to be.
list_files() {
  git ls-files --cached --others --exclude-standard -- "$@" | while IFS= read -r file; do
    if [ -f "$file" ]; then printf '%s\n' "$file"; fi
  done
}

check_format() {
  need clang-format-19 || return 1
  local files
  mapfile -t files < <(list_files '*.h' '*.cpp')
  if [ -n "$fix" ]; then clang-format-19 -i "${files[@]}"; fi
  clang-format-19 --dry-run --Werror "${files[@]}"
}

check_tidy() {
  need clang-tidy-19 || return 1
  [ -f "$TREE/compile_commands.json" ] || ./scripts/build.sh release
  ./scripts/tidy.py --build "$TREE" --limit "${TIDY_LIMIT:-0}"
}

check_layers() {
  cmake "-DROOT=$PWD" -P tests/layering/check_layers.cmake
}

check_spelling() {
  need codespell || return 1
  local files
  mapfile -t files < <(list_files '*.md' '*.h' '*.cpp' '*.cmake' '*.txt' '*.sh' '*.py' '*.yaml' '*.yml')
  codespell "${files[@]}"
}

check_shell() {
  need shellcheck || return 1
  local files
  mapfile -t files < <(list_files '*.sh' .ci/run)
  shellcheck "${files[@]}"
}

# grep over the project's text files; lines that carry "lint: allow" are exceptions.
search() {
  list_files | grep -v '^LICENSE$' | tr '\n' '\0' | xargs -0 grep -InP -- "$1" | grep -v 'lint: allow'
}

check_rules() {
  local failed=0 file lines
  while IFS= read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt "$MAX_LINES" ]; then
      echo "$file: $lines lines; split it (at most $MAX_LINES)"
      failed=1
    fi
  done < <(list_files '*.h' '*.cpp' '*.cmake' '*CMakeLists.txt' '*.sh' '*.py')

  if search '(?<![\w.}$)])/(home|root|work|Users|mnt|opt)/\w'; then
    echo "the lines above name one machine's own paths"
    failed=1
  fi
  # Public pages only: a mirror or registry of one workplace must not get in.
  local hosts='github\.com|www\.apache\.org|arxiv\.org|onnx\.ai|onnxruntime\.ai|pytorch\.org'
  hosts+='|docs\.ultralytics\.com|cocodataset\.org|keepachangelog\.com|semver\.org|doi\.org'
  hosts+='|google\.github\.io|www\.w3\.org|en\.wikipedia\.org|docs\.python\.org|json-schema\.org'
  if search "(https?|file)://(?!($hosts)(/|[\\s\"')>.,]|\$))[\\w]"; then
    echo "the lines above point to hosts that are not on the list in $0"
    failed=1
  fi
  return "$failed"
}

passed=0 failed=0
for name in "${names[@]}"; do
  start=$SECONDS
  log=$(mktemp)
  # A new shell, so that a failing command ends the check.
  if [ "$name" = tidy ]; then
    ("check_$name") && status=0 || status=$?
  else
    ("check_$name") >"$log" 2>&1 && status=0 || status=$?
  fi
  if [ "$status" -eq 0 ]; then
    passed=$((passed + 1))
    echo "lint: $name passed ($((SECONDS - start)) s)"
  else
    failed=$((failed + 1))
    tail -n 200 "$log"
    echo "lint: $name FAILED ($((SECONDS - start)) s)"
  fi
  rm -f "$log"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
