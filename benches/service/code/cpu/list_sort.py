def main():
    total = 0
    for seed in range(4):
        n, numbers = seed, []
        for _ in range(20000):
            n = (n * 1103515245 + 12345) % 2147483648
            numbers.append(n)
        numbers.sort()
        total += numbers[10000]
        numbers.sort(key=lambda n: n % 1000)
        total += numbers[5000]
    return total
