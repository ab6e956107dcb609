#!/usr/bin/env python3
"""Writes Sources/TextEncoding/unicode/folds.txt: what the reference tokenizer makes of every character.

The table is not taken from a Unicode version but asked of the reference (the package `tokenizers`, whose
BertNormalizer and BertPreTokenizer are what uncased BERT models were published with), character by
character, so text is folded alike for ever. Needs: pip install tokenizers. Run it from anywhere.

One line a run of characters, numbers in hexadecimal:
  - FIRST LAST         removed by cleaning (control, format, private use)
  m FIRST LAST         removed as an accent
  b FIRST LAST         removed as an accent, and marks do not move past it
  s FIRST LAST         becomes a space
  i FIRST LAST         a word of its own (punctuation, CJK)
  + FIRST LAST DELTA   becomes the character at DELTA more
  = CHAR TO TO…        becomes these
  c FIRST LAST CLASS   kept, and put in order with other marks by this class
Hangul syllables (AC00…D7A3) fall into two or three jamo by arithmetic and are not listed.
"""
import pathlib
import unicodedata

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

target = pathlib.Path(__file__).resolve().parents[3] / "Sources/TextEncoding/unicode/folds.txt"
normalizer = BertNormalizer(
    clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
cleaner = BertNormalizer(
    clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
splitter = BertPreTokenizer()
fold = normalizer.normalize_str
characters = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def is_hangul(c):
    return 0xAC00 <= c <= 0xD7A3


# Marks that survive, and their combining classes as the reference has them: two of them are swapped
# exactly where the first has the higher class and neither is a starter.
marks = [c for c in characters if unicodedata.combining(chr(c)) and fold(chr(c)) == chr(c)]
probes = {0x1D165: 216, 0x302E: 224, 0x1D16D: 226}
high, low = 0x1D16D, 0x1D165
classes = {}
for c in marks:
    known = unicodedata.combining(chr(c))
    others = {p: k for p, k in probes.items() if k != known}
    moves = {p: fold(chr(p) + chr(c)) == chr(c) + chr(p) for p in others}
    yields = {p: fold(chr(c) + chr(p)) == chr(p) + chr(c) for p in others}
    if any(moves.values()) or any(yields.values()):
        for p, k in others.items():
            assert moves[p] == (known < k) and yields[p] == (known > k), (hex(c), hex(p))
        classes[c] = known

lines = []
runs = []


def run(kind, c, value):
    if runs and runs[-1][0] == kind and runs[-1][3] == value and runs[-1][2] == c - 1:
        runs[-1][2] = c
    else:
        runs.append([kind, c, c, value])


isolated = set()
mapped = {}
for c in characters:
    text = chr(c)
    out = fold(text)
    if is_hangul(c):
        s = c - 0xAC00
        jamo = chr(0x1100 + s // 588) + chr(0x1161 + s % 588 // 28)
        jamo += chr(0x11A7 + s % 28) if s % 28 else ""
        assert out == jamo, hex(c)
    elif out == "":
        if cleaner.normalize_str(text) == "":
            run("-", c, None)
        else:
            blocks = fold(chr(high) + text + chr(low)) == chr(high) + chr(low)
            run("b" if blocks else "m", c, None)
    elif out.strip(" ") == "":
        run("s", c, None)
    elif out == f" {text} ":
        isolated.add(c)
        run("i", c, None)
    elif out == text:
        words = [word for word, _ in splitter.pre_tokenize_str("a" + text + "a")]
        if c in classes:
            assert len(words) == 1
            run("c", c, classes[c])
        elif len(words) == 3:
            isolated.add(c)
            run("i", c, None)
        else:
            assert len(words) == 1, hex(c)
    else:
        mapped[c] = out
        if len(out.strip(" ")) == 1:
            run("+", c, ord(out.strip(" ")) - c)
        else:
            run("=", c, [ord(o) for o in out])

# What a character becomes is a word of its own exactly where that character is one.
for c, out in mapped.items():
    if out.startswith(" "):
        assert ord(out.strip(" ")) in isolated, hex(c)
    else:
        words = [word for word, _ in splitter.pre_tokenize_str("a" + out + "a")]
        assert (len(words) == 3) == any(ord(o) in isolated for o in out), hex(c)

for kind, first, last, value in runs:
    if kind == "=":
        lines.append(f"= {first:X} " + " ".join(f"{v:X}" for v in value))
    elif kind == "+":
        sign = "-" if value < 0 else ""
        lines.append(f"+ {first:X} {last:X} {sign}{abs(value):X}")
    elif kind == "c":
        lines.append(f"c {first:X} {last:X} {value:X}")
    else:
        lines.append(f"{kind} {first:X} {last:X}")
target.parent.mkdir(parents=True, exist_ok=True)
target.write_text("\n".join(lines) + "\n", encoding="ascii")
print(f"{target.name}: {len(lines)} runs, {target.stat().st_size} bytes, {len(classes)} kept marks")
