"""Train on a CSV file of sensor readings, one row per step, and test on persons not used in training.

    python examples/sensors_in_a_csv.py

The script first writes simulated recordings of 12 persons who walk, run or stand: each has 40 to 80
readings of three axes. Replace the file by your own.
"""

from pathlib import Path

import numpy as np

import scanline

draw = np.random.default_rng(0)
rows = ["recording,time,person,x,y,z,label"]
for recording in range(180):
    person, label = recording % 12, ("walk", "run", "stand")[recording // 12 % 3]
    pace = {"walk": 0.5, "run": 1.1, "stand": 0.0}[label] * (1 + 0.02 * person)
    for time in range(int(draw.integers(40, 81))):
        swing = (np.sin(pace * time), np.cos(pace * time), 0.3 * np.sin(2 * pace * time))
        x, y, z = swing + draw.normal(size=3) * 0.4
        rows.append(f"{recording},{time},{person},{x:.3f},{y:.3f},{z:.3f},{label}")
Path("sensors.csv").write_text("\n".join(rows) + "\n")
print(f"wrote sensors.csv, {len(rows) - 1:,} simulated readings")

# Prints the roles of the other columns, which are detected from their names.
run = scanline.train("sensors.csv", settings={"data.group_column": "person"})
print(f"accuracy on persons not used in training: {run.result['test']['accuracy']:.3f}")
