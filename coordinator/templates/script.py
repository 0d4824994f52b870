#!/usr/bin/env python3
"""NAME: says hello. Progress goes to stderr; stdout is the result, best as JSON."""

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
