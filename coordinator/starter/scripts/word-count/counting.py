"""What counts as a word, and which words are frequent."""

import re
from collections import Counter

WORD = re.compile(r"\w+(?:['’]\w+)*")


def summary(text, filler, top):
    words = [word for word in WORD.findall(text.casefold()) if word not in filler]
    counts = Counter(words)
    # By count, then by the word itself: equal input gives equal output.
    ranking = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return {
        "words": len(words),
        "distinct": len(counts),
        "top": [{"word": word, "count": count} for word, count in ranking[:top]],
    }
