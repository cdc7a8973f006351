"""A CSV of sensor readings, a row for each step; nobody's recordings both train and test.

    python examples/sensors_in_a_csv.py

The readings are made up here, by 12 people who walk, run and stand: each recording is 40 to 80 readings of
three axes. The file is what a logger might have written; bring your own in its place.
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
print(f"wrote sensors.csv, {len(rows) - 1:,} made-up readings")

# Prints what it guesses of the other columns.
run = scanline.train("sensors.csv", settings={"data.group_column": "person"})
print(f"people who were not in training: {run.result['test']['accuracy']:.3f} right")
