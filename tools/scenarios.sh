#!/bin/sh
# Runs molecule scenarios: `roles/<role>` or the name of a scenario of the root. Those of roles run
# three at a time (SCENARIOS_AT_ONCE), since much of their time is waiting; their hosts do not meet.
# `default:install` goes beside them; `default:verify` follows alone, since its tests measure time.
# These two work on the demo's hosts and leave them.
# What one prints is shown when it ends, with pytest's closing line; the last line counts scenarios.
set -u
cd "$(dirname "$0")/.."
# Molecule draws boxes of 80 columns, which break the closing lines that CI reads.
[ -t 1 ] || export NO_COLOR=1

if [ "$1" = --one ]; then
  scenario=$2
  log=$SCENARIOS_FOLDER/$(echo "$scenario" | tr / -).log
  started=$(date +%s)
  echo "=== scenario $scenario begins"
  # `default` runs twice what it installs, so these need it only in the long set.
  case ${EDGE_LONG:-}$scenario in
    roles/kafka | roles/minio | roles/mosquitto | roles/mqtt_bridge | roles/spark | roles/streaming_job | roles/timescaledb)
      export EDGE_SEQUENCE="[destroy, syntax, create, prepare, check, converge, verify, destroy]"
      ;;
  esac
  case $scenario in
    roles/*) (cd "$scenario" && molecule test) ;;
    default:*)
      export EDGE_GROUP=demo EDGE_NETWORK=10.92.0
      export EDGE_SEQUENCE="[destroy, syntax, create, prepare, converge, idempotence]"
      [ "$scenario" = default:verify ] && export EDGE_SEQUENCE="[verify]"
      ! grep -qx default:install "$SCENARIOS_FOLDER/failed" && molecule test --scenario-name default
      ;;
    *) molecule test --scenario-name "$scenario" ;;
  esac >"$log" 2>&1
  status=$?
  [ $status -eq 0 ] && word=passed || word=failed
  echo "$scenario" >>"$SCENARIOS_FOLDER/$word"
  flock "$SCENARIOS_FOLDER" cat "$log"
  echo "=== scenario $scenario $word, took $(($(date +%s) - started)) s"
  exit $status
fi

SCENARIOS_FOLDER=$(mktemp -d)
export SCENARIOS_FOLDER
trap 'rm -rf "$SCENARIOS_FOLDER"' EXIT
touch "$SCENARIOS_FOLDER/passed" "$SCENARIOS_FOLDER/failed"
for scenario in "$@"; do echo "$scenario"; done >"$SCENARIOS_FOLDER/all"
one="xargs -r -n 1 -P"
together="^roles/|:install$"
grep -E "$together" "$SCENARIOS_FOLDER/all" | $one "${SCENARIOS_AT_ONCE:-3}" sh tools/scenarios.sh --one
grep -vE "$together" "$SCENARIOS_FOLDER/all" | $one 1 sh tools/scenarios.sh --one
failed=$(tr '\n' ' ' <"$SCENARIOS_FOLDER/failed")
[ -z "$failed" ] || echo "scenarios that failed: $failed"
# Once more at the end, where one who sees only the end of a long output looks.
for scenario in $failed; do
  echo "--- why $scenario failed"
  grep -E '^(E  |FAILED|ERROR|\[ERROR\]|TASK .*failed|fatal:|failed:)|: (FAILED|UNREACHABLE)!' \
    "$SCENARIOS_FOLDER/$(echo "$scenario" | tr / -).log" | cut -c 1-400 | tail -n 20
done
echo "$(wc -l <"$SCENARIOS_FOLDER/passed") passed, $(wc -l <"$SCENARIOS_FOLDER/failed") failed"
[ -z "$failed" ]
