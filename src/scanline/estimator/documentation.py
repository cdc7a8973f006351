"""The parameters that the estimators document, in the format of numpydoc, as scikit-learn's do."""

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
    recipe : str, path or None, default=None
        Recipe that the parameters change; None: "text" for texts, otherwise "sequences". Of another recipe
        than "sequences", parameters that have their defaults do not change it.
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

SEARCH_PARAMETERS = """
    Parameters
    ----------
    n_trials : int or None, default=20
        Number of trials; None: as many as `minutes` allows.
    minutes : float or None, default=None
        Duration of the search, without the training that follows; None: no limit.
    cv : int or None, default=None
        Number of folds that trials are validated on, drawn by class and by group; 0: one split; None:
        folds if there are few samples.
    space : dict or None, default=None
        What is searched: keys of Scanline's recipe, each with a list of choices or a range such as
        {"low": 0.001, "high": 0.1, "log": True}; None: what the recipe has, or a space that suits the
        samples.
    recipe : str, path or None, default=None
        Recipe that the trials change; None: "sequences".
    ensemble : int, default=0
        Number of best trials whose models predict together; 0: the best alone.
    features_per_step : int, default=1
        F, the number of columns of a 2-D X that make one step.
    refit : bool, default=True
        Whether to train the best settings on all samples, as predictions require.
    study : str, path or None, default=None
        Folder to keep the trials in; the same samples and parameters continue it. None: nothing is kept.
    settings : dict or None, default=None
        Keys of the recipe that are the same in all trials, as {"model.hidden_size": 64}.
    n_jobs : int or None, default=None
        Number of trials at a time, each in a process of one thread; None: one, in this process; -1: one for
        each core.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where to compute.
    random_state : int, RandomState instance or None, default=None
        The same integer gives the same trials and classifier on one machine and thread count.
    verbose : bool, default=False
        Whether to print a line when there are new results.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The class names.
    n_features_in_ : int
        Columns of a 2-D X, or features of a step of any other X.
    best_params_ : dict
        Settings of the best trial, by key of the recipe.
    best_score_ : float
        Its validation accuracy.
    best_index_ : int
        Its number.
    cv_results_ : dict of arrays
        For each trial: `params`, `param_KEY`, `mean_test_score` and `mean_test_loss` over the validated
        samples (NaN if there was no validation), `rank_test_score`, `state` ("complete", "stopped" early,
        "diverged", "invalid") and `rung`, how far it was trained: 0 is a quarter, 1 half,
        2 all of it.
    model_ : scanline.Model or scanline.Ensemble
        The trained model.
    """

_OF_CLASSES = (
    """    class_weight : dict, "balanced" or None, default=None
        Weight of each class.
""",
    """    classes_ : ndarray of shape (K,)
        The class names.
""",
)
REGRESSOR_PARAMETERS = (
    PARAMETERS.replace(_OF_CLASSES[0], "")
    .replace(_OF_CLASSES[1], "")
    .replace("the same classifier", "the same regressor")
    .replace("better validation accuracy", "lower validation error")
    .replace(
        "Fraction of the samples held out for validation.",
        "Fraction of the samples held out for validation and for prediction intervals.",
    )
)
