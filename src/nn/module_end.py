

def read_safetensors(path):
    """The float32 tensors of a safetensors file, by name."""
    data = bytearray(pathlib.Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        elements = torch.frombuffer(data, dtype=torch.float32, offset=start + begin, count=(end - begin) // 4)
        tensors[name] = elements.reshape(entry["shape"]).clone()
    return tensors
