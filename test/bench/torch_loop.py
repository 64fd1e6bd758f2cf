"""Merge two folders shard by shard with torch, as one would by hand; prints seconds and peak RSS in MiB."""

import os
import re
import sys
import time
from pathlib import Path

from safetensors.torch import load_file, save_file

base, delta, out = map(Path, sys.argv[1:])
started = time.perf_counter()
for file in sorted(base.glob("*.safetensors")):
    ours, theirs = load_file(file), load_file(delta / file.name)
    save_file({name: ours[name] + theirs[name] for name in ours}, out / file.name, metadata={"format": "pt"})
    handle = os.open(out / file.name, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
seconds = time.perf_counter() - started
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(seconds, int(peak[1]) / 1024)
