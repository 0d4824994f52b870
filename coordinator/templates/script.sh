#!/usr/bin/env bash
# NAME: says hello. Progress goes to stderr; stdout is the result, best as JSON.
set -euo pipefail

name="world"
while (($# > 0)); do
  case "$1" in
    --name=*) name="${1#*=}" ;;
    --name)
      name="${2:?--name needs a value}"
      shift
      ;;
    *)
      printf 'unknown argument: %s\n' "$1" >&2
      exit 2
      ;;
  esac
  shift
done

# The parameters as JSON are in "$PARAMS_FILE"; a tool such as jq reads any value from there.
printf 'greeting %s\n' "$name" >&2
# Quotes and backslashes would break the JSON below.
name="${name//[\"\\]/}"
printf '{"greeting": "hello %s"}\n' "$name"
