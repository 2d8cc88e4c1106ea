import json


def main():
    rows = [{"id": n, "name": f"row {n}", "tags": ["a", "b", str(n)], "score": n / 3, "none": None} for n in range(800)]
    size = 0
    for _ in range(8):
        text = json.dumps(rows)
        size += len(text) + len(json.loads(text))
    return size
