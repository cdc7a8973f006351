"""Train on a folder of pictures with a sub-folder for each class, then classify a file.

    python examples/pictures_in_folders.py

The script first writes scikit-learn's small digits as PNG files into pictures/0/ to pictures/9/.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import scanline

images, labels = load_digits(return_X_y=True)
for number, (image, label) in enumerate(zip(images.reshape(-1, 8, 8), labels, strict=True)):
    Path(f"pictures/{label}").mkdir(parents=True, exist_ok=True)
    Image.fromarray((image * 15).astype(np.uint8)).resize((32, 32)).save(f"pictures/{label}/{number}.png")

# Resize the pictures to 16 x 16 and read them by columns, from left to right.
settings = {"data.picture": "16x16", "input.view": "columns", "train.samples": 10_000}
run = scanline.train("pictures", settings=settings)
print(f"test accuracy: {run.result['test']['accuracy']:.3f}")
print("pictures/7/7.png is classified as", run.model.predict(run.model.prepare("pictures/7/7.png"))[0])
