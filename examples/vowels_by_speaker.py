"""Identify nine speakers by a vowel: sequences of 7 to 29 steps with 12 features, without padding.

    python examples/vowels_by_speaker.py ts/JapaneseVowels

The argument is the common NAME of NAME_TRAIN.ts and NAME_TEST.ts. The files are available as JapaneseVowels
at https://www.timeseriesclassification.com (Kudo, Toyama and Shimbo 1999). Without an argument they are
looked for in $SCANLINE_DATA.
"""

import sys

import numpy as np

import scanline

run = scanline.train(sys.argv[1] if len(sys.argv) > 1 else "JapaneseVowels", log=None)
test = run.result["test"]
low, high = test["ci95"]
print(f"{test['correct']} of {test['n']} correct, accuracy {test['accuracy']:.4f} ({low:.4f} to {high:.4f})")

# The prediction for an utterance is the same alone and in a batch with longer ones.
draw = np.random.default_rng(0)
short, long = draw.normal(size=(7, 12)), draw.normal(size=(29, 12))
alone, together = run.model.predict_proba([short])[0], run.model.predict_proba([short, long])[0]
print("largest difference between alone and in a batch:", np.abs(alone - together).max())
