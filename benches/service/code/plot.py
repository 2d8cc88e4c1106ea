import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

plt.plot([1, 2, 3, 4, 5], [1, 4, 9, 16, 25])
plt.title("squares")
plt.xlabel("n")
plt.savefig("plot.png")
print("plotted")
