from math import sqrt

BODIES = [
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 39.47],
    [4.84, -1.16, -0.10, 0.606, 2.81, -0.02, 0.037],
    [8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.011],
    [12.89, -15.11, -0.22, 1.08, 0.868, -0.01, 0.0017],
    [15.37, -25.9, 0.179, 0.979, 0.594, -0.034, 0.002],
]


def main():
    bodies = [body[:] for body in BODIES]
    pairs = [(a, b) for i, a in enumerate(bodies) for b in bodies[i + 1 :]]
    for _ in range(1500):
        for a, b in pairs:
            dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
            square = dx * dx + dy * dy + dz * dz
            pull = 0.001 / (square * sqrt(square))
            left, right = b[6] * pull, a[6] * pull
            a[3] -= dx * left
            a[4] -= dy * left
            a[5] -= dz * left
            b[3] += dx * right
            b[4] += dy * right
            b[5] += dz * right
        for body in bodies:
            body[0] += 0.001 * body[3]
            body[1] += 0.001 * body[4]
            body[2] += 0.001 * body[5]
    return round(bodies[0][0], 9)
