#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""NAME: says hello. What it needs stands above; progress goes to stderr, the result to stdout as JSON."""

import argparse
import json
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--name", default="world")
    arguments = parser.parse_args()
    print(f"greeting {arguments.name}", file=sys.stderr)
    print(json.dumps({"greeting": f"hello {arguments.name}"}))


if __name__ == "__main__":
    main()
