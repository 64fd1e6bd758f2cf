"""Save a model of safetensors files as torch does: python torch_model.py <from> <to>.

The tensors of each file are saved in the order of the model, as `save_pretrained` of 2023 did, not by name.
"""

import json
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

PARTS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj", "up_proj"]


def place(name):
    layer, part = re.fullmatch(r"model\.layers\.(\d+)\.\w+\.(\w+)\.weight", name).groups()
    return int(layer), PARTS.index(part)


source, target = map(Path, sys.argv[1:])
target.mkdir(exist_ok=True)
index = json.loads((source / "model.safetensors.index.json").read_text())
for shard in sorted(set(index["weight_map"].values())):
    tensors = load_file(source / shard)
    file = shard.replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
    torch.save({name: tensors[name] for name in sorted(tensors, key=place)}, target / file)
    for name in tensors:
        index["weight_map"][name] = file
(target / "pytorch_model.bin.index.json").write_text(json.dumps(index))
