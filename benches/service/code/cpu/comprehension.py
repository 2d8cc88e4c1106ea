def main():
    total = 0
    for _ in range(8):
        squares = [n * n for n in range(25000) if n % 3]
        total += sum(squares) + sum(n ^ 5 for n in squares)
        total += len({n % 1009 for n in squares})
    return total
