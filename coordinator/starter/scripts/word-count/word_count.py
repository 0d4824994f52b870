#!/usr/bin/env python3
"""Counts words. The counting is in counting.py, the filler words in filler_words.txt."""

import argparse
import json
import sys
from pathlib import Path

# A script's folder is stored by the digest of its content: leave no __pycache__ in it.
sys.dont_write_bytecode = True

from counting import summary  # noqa: E402

FILLER_WORDS = Path(__file__).with_name("filler_words.txt")


def main():
    parser = argparse.ArgumentParser(description="Count the words of a text.", allow_abbrev=False)
    parser.add_argument("--text", required=True)
    parser.add_argument("--top", type=int, default=3)
    parser.add_argument("--keep-filler", action="store_true")
    arguments = parser.parse_args()

    filler = set() if arguments.keep_filler else set(FILLER_WORDS.read_text("utf-8").split())
    print(json.dumps(summary(arguments.text, filler, arguments.top)))


if __name__ == "__main__":
    main()
