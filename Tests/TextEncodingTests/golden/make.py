#!/usr/bin/env python3
"""Makes the golden files of TextEncoding with the reference programs.

  python3 -m venv VENV                      # any folder outside the project
  VENV/bin/pip install torch sentence-transformers
  VENV/bin/python make.py MODEL_DIR            # what `coldstream text install` prints

Written beside this program:
  ids.txt.gz            a line a string: its bytes in hexadecimal (invalid UTF-8 included), then the token ids
                        of the fast tokenizer of transformers, truncated at 128; no ids stands for "as
                        many as there are": such lines begin with "full" and are not truncated
  vectors.safetensors   texts (U8, with lengths) and their vectors by sentence-transformers with at most
                        128 tokens, float32 on the CPU, as I16 in units of 2^-15
  vocab.txt.gz          the model's vocabulary, which is BERT's (Apache-2.0)
  tiny/                 a random BERT of two layers, its config, vocabulary and weights, and
                        tiny/outputs.safetensors: ids, lengths, mean-pooled and first-token vectors
The strings are written here and drawn from a seeded generator; none is taken from a data set.
"""
import gzip
import io
import json
import pathlib
import random
import sys
import unicodedata

import numpy as np
import torch
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel, BertTokenizerFast

here = pathlib.Path(__file__).resolve().parent
model = sys.argv[1]
draw = random.Random(20)
torch.manual_seed(20)
torch.set_num_threads(2)

WORDS = """the of and a to in is that for it was on are with as his they at be this from have or by one had
not but what all were when we there can an your which their said if do will each about how up out them then
she many some so these would other into has more her two like him see time could no make than first been its
who now people my made over did down only way find use may water long little very after words called just
where most know film movie story young man woman detective murder love war space alien robot king queen island
journey secret night dark house family friend city police train zombie vampire comedy drama thriller romance
documentary animation western musical samurai heist prison boxing wedding christmas halloween pirate dragon
wizard princess knight castle ghost haunted psychological supernatural unbelievable internationalization
Schwarzenegger Kurosawa Tarantino Miyazaki Amélie Élysée naïve façade Müller Ångström smörgåsbord señor
São Łódź Dvořák Çelik İstanbul ΣΊΣΥΦΟΣ Москва Привет мир Київ ქართული हिन्दी தமிழ் ไทย עברית العربية 한국어
日本語 東京物語 ひらがな カタカナ 中文电影 粵語 tiếng Việt""".split()


def fixed():
    yield ""
    yield from [" ", "\n", "\t \r\n", "\0", "\x7f", "a", "A", "é", "e\u0301", "\u0301", "!", "...", "[UNK]", "[CLS]",
                "[SEP] and [MASK]", "[mask]", "[PAD][PAD]", "x[SEP]y", "[ SEP ]", "##ing", "##", "don't stop", "U.S.A.",
                "24/7", "$9.99", "a_b-c", "C++", "C#", "e-mail@example.org", "https://example.org/?q=1&r=2#s", "100%",
                "½ ² ³ ①", "ﬁne ﬂow", "Ⅷ", "Straße GROẞ", "İI ıi", "ŉ ǰ", "ΑΣ ΑΣ Σ", "Ω Ω K Å", "\ufeffbom", "soft\u00adhyphen",
                "zero\u200bwidth\u200djoiner\u2060", "\u202eright\u202c", "ليلة دافئة", "שלום עולם", "e" * 100, "e" * 101,
                "é" * 100, "é" * 101, "a" * 10_000, "word " * 2_000, "😀", "👩‍👩‍👧‍👦 family", "🇩🇪🇯🇵", "👍🏽", "❤️", "™®©",
                "日本語テキスト", "日本 語,テスト。", "한국어 영화", "中文abc中文", "\U00020000\U0002f81a", "豈更車", "〆ヶ々", "｡｢｣､･ﾊﾝｶｸ",
                "Ａｌｐｈａ", "a\u302e\U0001d165", "a\u302e\u0301\U0001d165", "a\u302e\u034f\U0001d165", "\U0001d15e\U0001d160",
                "\u0344\u0958\u0931", "ཧཱི", "เมือง กรุงเทพ", "காதல்", "प्रेम कहानी", "ប្រទេស", "ሰላም", "\ufffd", "\ue000", "\U000e0041",
                "\u0085x\u2028y\u2029z", "\u00a0\u1680\u2003\u3000", "\u180e", "≠≮≯", "∑∫√", "⟨a⟩", "‘’“”„«»", "–—―", "¿qué? ¡sí!",
                "´`^~¨", "\u037e\u0387", "A\u030a\u0323", "\u1e9b\u0323", "q\u0307\u0323", "\u0041\u0300\u0345", "ǅ ǆ", "Ǆ", "ᾳ ᾼ",
                "Ꭰ ꭰ", "Ა ა", "ſ", "\u1fbe", "\u2126", "𝐀𝐁", "𐐀𐐨", "𞤀𞤢"]
    text = "The quick brown fox jumps over the lazy dog. "
    for n in (1, 2, 10, 11, 12, 13, 14, 100, 240):
        yield text * n
    for n in range(118, 134):
        yield "dog " * n          # both sides of every truncation
        yield "unaffable " * (n // 4) + "dog " * (n % 4)


def blocks():
    """Characters of all blocks, 64 to a string; a sample of the large uniform ones."""
    for first in range(0, 0x110000, 64):
        run = [chr(c) for c in range(first, first + 64) if not 0xD800 <= c < 0xE000]
        plane = first >> 16
        if not run or plane in (15, 16) or (4 <= plane <= 13):
            continue
        if 0x3400 <= first < 0x9FC0 or 0xAC00 <= first < 0xD780 or 0x17000 <= first < 0x18D00 or 0x20000 <= first < 0x323C0:
            if first // 64 % 16:
                continue
        if plane == 14 and first > 0xE0200:
            continue
        if 0xE000 <= first < 0xF900 and first // 64 % 32:
            continue
        if all(unicodedata.category(c) == "Cn" for c in run) and first // 64 % 16:
            continue
        yield ("".join(run), "full")


def mixtures(count):
    marks = [chr(c) for c in list(range(0x300, 0x345)) + [0x34F, 0x302E, 0x1D165, 0x1D16D, 0x20D0, 0x345, 0x5B0, 0x64B, 0x93C, 0x94D]]
    punctuation = list(".,;:!?'\"()[]{}-_/\\@#$%^&*+=<>|~`…–—«»“”·¡¿§¶")
    controls = [chr(c) for c in list(range(1, 32)) + [0x7F, 0x85, 0xAD, 0x200B, 0x200D, 0x202A, 0x2060, 0xFEFF, 0xFFFD]]
    emoji = [chr(c) for c in list(range(0x1F300, 0x1F650)) + list(range(0x2600, 0x27C0))]
    cjk = [chr(c) for c in list(range(0x4E00, 0x9FD0)) + list(range(0x3041, 0x30FF))]
    hangul = [chr(c) for c in range(0xAC00, 0xD7A4)]
    for _ in range(count):
        out = []
        for _ in range(draw.choice((1, 2, 3, 5, 8, 13, 40))):
            kind = draw.random()
            if kind < .5:
                word = draw.choice(WORDS)
                out.append(draw.choice((word, word.upper(), word.capitalize(), word + draw.choice(WORDS))))
            elif kind < .6:
                out.append(draw.choice(punctuation) * draw.choice((1, 1, 1, 3)))
            elif kind < .67:
                out.append(draw.choice(WORDS) + "".join(draw.choice(marks) for _ in range(draw.randint(1, 4))) + draw.choice("xyz"))
            elif kind < .72:
                out.append(draw.choice(controls))
            elif kind < .78:
                out.append(draw.choice(emoji))
            elif kind < .84:
                out.append("".join(draw.choice(cjk) for _ in range(draw.randint(1, 5))))
            elif kind < .88:
                out.append("".join(draw.choice(hangul) for _ in range(draw.randint(1, 3))))
            elif kind < .95:
                out.append(str(draw.randint(0, 99999)))
            else:
                out.append("".join(chr(draw.choice((draw.randint(33, 0x2FFF), draw.randint(0x1F000, 0x1FFFF)))) for _ in range(6)))
            if draw.random() < .75:
                out.append(draw.choice((" ", " ", " ", " ", "\n", "\t", "\u00a0", "  ")))
        yield "".join(out)


def damaged(count):
    for _ in range(count):
        raw = bytearray(" ".join(draw.choice(WORDS) for _ in range(6)).encode())
        for _ in range(draw.randint(1, 5)):
            raw[draw.randrange(len(raw))] = draw.randint(128, 255)
        yield bytes(raw)
    for _ in range(count):
        yield bytes(draw.randrange(256) for _ in range(draw.randint(1, 60)))
    yield from (b"\xed\xa0\x80 lone surrogate \xed\xbf\xbf", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xff\xfe a")


def write_ids():
    tokenizer = BertTokenizerFast.from_pretrained(model)
    entries = [(t.encode("utf-8", "surrogatepass"), "cut") for t in fixed()]
    entries += [(t.encode("utf-8"), kind) for t, kind in blocks()]
    entries += [(t.encode("utf-8"), "cut") for t in mixtures(1_000)]
    entries += [(b, "cut") for b in damaged(150)]
    lines = io.StringIO()
    for raw, kind in entries:
        text = raw.decode("utf-8", errors="replace")
        ids = tokenizer(text, truncation=kind == "cut", max_length=128 if kind == "cut" else None)["input_ids"]
        lines.write(f"{kind} {raw.hex() or '-'} {' '.join(map(str, ids))}\n")
    with open(here / "ids.txt.gz", "wb") as f, gzip.GzipFile(fileobj=f, mode="wb", mtime=0, filename="") as z:
        z.write(lines.getvalue().encode())
    with open(here / "vocab.txt.gz", "wb") as f, gzip.GzipFile(fileobj=f, mode="wb", mtime=0, filename="") as z:
        z.write((pathlib.Path(model) / "vocab.txt").read_bytes())
    print(len(entries), "strings,", (here / "ids.txt.gz").stat().st_size, "bytes")


def write_vectors():
    # Where there is no token but [CLS] and [SEP] ours are zeros.
    tokenizer = BertTokenizerFast.from_pretrained(model)
    texts = [t for t in fixed() if len(tokenizer(t, truncation=True)["input_ids"]) > 2 and len(t) < 700][:110]
    texts += ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    while len(texts) < 240:
        texts.append(" ".join(draw.choice(WORDS) for _ in range(draw.choice((1, 2, 4, 8, 16, 40, 90, 160)))))
    encoder = SentenceTransformer(model, device="cpu")
    encoder.max_seq_length = 128
    vectors = encoder.encode(texts, batch_size=1, normalize_embeddings=True)
    assert np.abs(vectors).max() < 0.99
    raw = [t.encode() for t in texts]
    save_file({"vectors": np.round(vectors * 32768).astype(np.int16),
               "lengths": np.array([len(r) for r in raw], np.int64),
               "texts": np.frombuffer(b"".join(raw), np.uint8)}, here / "vectors.safetensors")
    print(len(texts), "vectors,", (here / "vectors.safetensors").stat().st_size, "bytes")


def write_tiny():
    folder = here / "tiny"
    folder.mkdir(exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list("abcdefghijklmnopqrstuvwxyz") + \
        ["##" + c for c in "abcdefghijklmnopqrstuvwxyz"] + ["the", "film", "##s", "!", "東"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    config = BertConfig(vocab_size=len(words), hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
                        intermediate_size=40, max_position_embeddings=64, type_vocab_size=2, hidden_act="gelu",
                        layer_norm_eps=1e-12)
    net = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(torch.randn_like(p) * (.3 if p.dim() > 1 else .2) + (1. if name.endswith("LayerNorm.weight") else 0.))
    tensors = {n: t.numpy() for n, t in net.state_dict().items() if n != "embeddings.position_ids"}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    keep = ("hidden_act", "hidden_size", "intermediate_size", "layer_norm_eps", "max_position_embeddings", "model_type",
            "num_attention_heads", "num_hidden_layers", "type_vocab_size", "vocab_size")
    known = {**config.to_dict(), "position_embedding_type": "absolute"}
    (folder / "config.json").write_text(json.dumps({k: known[k] for k in (*keep, "position_embedding_type")}, indent=2) + "\n")
    lengths = [3, 4, 5, 7, 9, 16, 17, 31, 33, 48, 63, 64]
    ids = [[2] + [draw.randrange(5, len(words)) for _ in range(n - 2)] + [3] for n in lengths]
    means, firsts = [], []
    with torch.inference_mode():
        for row in ids:
            hidden = net(input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long)).last_hidden_state[0]
            means.append(torch.nn.functional.normalize(hidden.mean(0), dim=0).numpy())
            firsts.append(torch.nn.functional.normalize(hidden[0], dim=0).numpy())
    save_file({"ids": np.concatenate([np.array(r, np.int64) for r in ids]), "lengths": np.array(lengths, np.int64),
               "mean": np.stack(means), "first": np.stack(firsts)}, folder / "outputs.safetensors")
    print("tiny", sum(f.stat().st_size for f in folder.iterdir()), "bytes")


write_ids()
write_vectors()
write_tiny()
