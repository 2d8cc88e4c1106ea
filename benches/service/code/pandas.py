import pandas as pd

df = pd.DataFrame({"n": range(1000), "half": [n / 2 for n in range(1000)]})
print(df["n"].sum())
