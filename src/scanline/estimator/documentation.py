"""The parameters that all estimators document, in the format of numpydoc, as scikit-learn's do."""

from __future__ import annotations

PARAMETERS = """
    Parameters
    ----------
    hidden_size : int, default=128
        Units of each layer and direction.
    layers : int, default=1
        Number of recurrent layers.
    bidirectional : bool, default=True
        Whether each layer reads in both directions.
    readout : {"last", "mean", "max"}, default="max"
        Pooling of the outputs over the steps.
    dropout : float, default=0.3
        Fraction of every layer's outputs set to 0 in training.
    features_per_step : int, default=1
        F, the number of columns of a 2-D X that make one step.
    scaling : {"standard", "none"}, default="standard"
        "standard" gives each feature mean 0 and deviation 1 over the training steps.
    epochs : int, default=100
        Passes over the training samples in `fit`.
    batch_size : int, default=16
        Samples in a batch.
    learning_rate : float, default=0.003
        Peak learning rate of Adam, which rises and falls in one cycle; constant if `patience` is set.
    noise : float, default=0.3
        Standard deviation of the normal noise added to scaled values in training.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class.
    validation_fraction : float, default=0.0
        Fraction of the samples held out for validation.
    patience : int, default=0
        Stop after this many epochs without a better validation accuracy, and keep the best weights; 0 trains
        for all epochs.
    settings : dict or None, default=None
        Further keys of Scanline's recipe, as {"train.precision": "bfloat16"}.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where to compute.
    random_state : int, RandomState instance or None, default=None
        The same integer gives the same classifier, bit for bit, on one machine and thread count.
    verbose : bool, default=False
        Whether to print the log lines of the training.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The class names.
    n_features_in_ : int
        Columns of a 2-D X, or features of a step of any other X.
    model_ : scanline.Model
        The trained model.
    """
