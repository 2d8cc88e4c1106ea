def main():
    total = 0
    for _ in range(6):
        counts = {}
        for n in range(30000):
            key = (n * 7919) % 5003
            counts[key] = counts.get(key, 0) + n
        names = {str(key): value for key, value in counts.items()}
        total += sum(value for name, value in names.items() if name.endswith("7"))
    return total
