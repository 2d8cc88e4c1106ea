def main():
    size = 0
    for round in range(10):
        parts = []
        for n in range(6000):
            parts.append(f"{n}:{n * 3}".upper().replace("3", "three"))
        text = ", ".join(parts)
        size += len(text) + len(text.split(", ")) + text.count("three")
    return size
