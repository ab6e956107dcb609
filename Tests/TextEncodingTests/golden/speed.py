#!/usr/bin/env python3
"""Texts a second of sentence-transformers on PyTorch CPU, for `coldstream bench text` to be held against.

  OMP_NUM_THREADS=1 python speed.py MODEL_DIR CATALOG.jsonl [BATCH]

Reads the same texts in the same form (title. description, at most 128 tokens), one thread. Prints texts a
second of wall time and of processor time for each of three passes, and the peak resident memory.
"""
import json
import resource
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

torch.set_num_threads(1)
encoder = SentenceTransformer(sys.argv[1], device="cpu")
encoder.max_seq_length = 128
texts = []
for line in open(sys.argv[2], encoding="utf-8"):
    item = json.loads(line)
    texts.append(item["title"] + ". " + item.get("description", ""))
batch = int(sys.argv[3]) if len(sys.argv) > 3 else 32
for _ in range(int(sys.argv[4]) if len(sys.argv) > 4 else 3):
    wall, cpu = time.perf_counter(), time.process_time()
    encoder.encode(texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"batch {batch}: {len(texts) / wall:.1f} texts/s, {len(texts) / cpu:.1f} texts/cpu-second", flush=True)
print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
