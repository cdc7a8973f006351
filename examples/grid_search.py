"""Run a scikit-learn grid search over LSTMs that read 8 x 8 digits row by row.

python examples/grid_search.py
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from scanline import LSTMClassifier

X, y = load_digits(return_X_y=True)  # (1797, 64): 8 rows of 8 pixels each
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)

search = GridSearchCV(
    LSTMClassifier(features_per_step=8, epochs=8, noise=0.0, random_state=0),
    {"hidden_size": [16, 64], "bidirectional": [False, True]},
    cv=2,
    n_jobs=2,
)
search.fit(X_train, y_train)
print(f"best parameters: {search.best_params_}, validation accuracy {search.best_score_:.4f}")
print(f"test accuracy: {search.score(X_test, y_test):.4f}")
