"""Merge two folders with torch, as one would by hand: shard by shard, or (`all`) with both models in memory.

Prints seconds, CPU seconds and the peak of the memory as JSON.
"""

import json
import os
import re
import sys
import time
from pathlib import Path

from safetensors.torch import load_file, save_file

mode, base, delta, out = sys.argv[1], *map(Path, sys.argv[2:])


def save(tensors, file):
    save_file(tensors, file, metadata={"format": "pt"})
    handle = os.open(file, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


out.mkdir()
started, cpu = time.perf_counter(), time.process_time()
files = sorted(base.glob("*.safetensors"))
if mode == "all":
    ours = {file: load_file(file) for file in files}
    theirs = {name: tensor for file in files for name, tensor in load_file(delta / file.name).items()}
    for file in files:
        for name in ours[file]:
            ours[file][name] += theirs[name]
        save(ours[file], out / file.name)
else:
    for file in files:
        ours, theirs = load_file(file), load_file(delta / file.name)
        save({name: ours[name] + theirs[name] for name in ours}, out / file.name)
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(json.dumps({"seconds": seconds, "cpuSeconds": cpu, "peakMiB": int(peak[1]) / 1024}))
