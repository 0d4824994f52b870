#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
"""Says whether a file is JSON, and where it stops being so.

A file that is not JSON is an answer, not a failure. A file that cannot be read is one.
"""

import argparse
import json
import sys


def check(path):
    with open(path, "rb") as file:
        content = file.read()
    try:
        json.loads(content, parse_constant=refuse)
    except json.JSONDecodeError as problem:
        where = {"line": problem.lineno, "column": problem.colno}
        return {"valid": False, "file": path, "error": problem.msg, **where}
    except (ValueError, RecursionError) as problem:
        return {"valid": False, "file": path, "error": str(problem)}
    return {"valid": True, "file": path}


def refuse(constant):
    # Python reads NaN and Infinity; the standard does not know them.
    raise ValueError(f"{constant} is not a JSON value")


def main():
    parser = argparse.ArgumentParser(description="Check a file for proper JSON format.", allow_abbrev=False)
    parser.add_argument("--file", required=True)
    path = parser.parse_args().file
    try:
        print(json.dumps(check(path)))
    except OSError as problem:
        sys.exit(f"json_check: cannot read {path}: {problem.strerror}")


if __name__ == "__main__":
    main()
