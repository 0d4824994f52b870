#!/usr/bin/env bash
# Pretends to deploy to a target. Progress goes to stderr, the result to stdout.
set -euo pipefail
export LC_ALL=C # a-z below means these 26 letters, in every locale

main() {
  local target=""
  while (($# > 0)); do
    case "$1" in
      --target=*) target="${1#*=}" ;;
      --target)
        (($# > 1)) || usage "--target needs a value"
        target="$2"
        shift
        ;;
      *) usage "unknown argument: $1" ;;
    esac
    shift
  done
  # Checked here too: the name goes into the JSON below as it is.
  [[ "$target" =~ ^[a-z0-9][a-z0-9-]*$ ]] ||
    usage "--target must be lower-case letters, digits and dashes, not '$target'"

  step "checking $target"
  step "uploading the release"
  step "switching traffic over"
  step "$target is healthy"
  printf '{"status": "deployed", "target": "%s"}\n' "$target"
}

step() {
  printf '%s\n' "$1" >&2
  # Only so that there is something to watch.
  sleep 0.3
}

usage() {
  printf 'deploy: %s\nusage: deploy.sh --target NAME\n' "$1" >&2
  exit 2
}

main "$@"
