#!/bin/sh
# Runs molecule scenarios one after the other: `roles/<role>` or the name of a scenario of the root.
# Each prints pytest's closing line; the last line counts scenarios.
set -u
cd "$(dirname "$0")/.."
# Molecule draws boxes of 80 columns, which break the closing lines that CI reads.
[ -t 1 ] || export NO_COLOR=1
passed=0
failed=""
for scenario in "$@"; do
  started=$(date +%s)
  echo "=== scenario $scenario"
  case $scenario in
    roles/*) (cd "$scenario" && molecule test) ;;
    *) molecule test --scenario-name "$scenario" ;;
  esac
  if [ $? -eq 0 ]; then passed=$((passed + 1)); else failed="$failed $scenario"; fi
  echo "=== scenario $scenario took $(($(date +%s) - started)) s"
done
count=$(echo "$failed" | wc -w)
[ -z "$failed" ] || echo "scenarios that failed:$failed"
echo "$passed passed, $count failed"
[ -z "$failed" ]
