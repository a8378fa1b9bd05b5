"""The known deviations of the optimizer: another Adam, or another optimizer."""

from deviant.deviation import Deviation, each

_RATES = (0.01, 0.001, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)

OPTIMIZER = (
    Deviation(
        "adam-epsilon-1e-7",
        "Adam's epsilon is 1e-7 (Keras's default), TensorFlow's is 1e-8",
        each("epsilon", 1e-7),
    ),
    Deviation(
        "adam-epsilon",
        "Adam's epsilon is {epsilon:.4g}, TensorFlow's is 1e-8",
        each("epsilon", *(10.0**-k for k in (3, 4, 5, 6, 9, 10, 12, 1, 2)), 0.0),
        fitted="epsilon",
    ),
    Deviation(
        "gradient-scaled",
        "gradients are multiplied by {gradient_factor:.4g}, the loss is not",
        each("gradient_factor", 2.0, 0.5, 0.1, -1.0, 10.0),
        fitted="gradient_factor",
    ),
    Deviation(
        "adam-epsilon-outside",
        "epsilon is added after the bias correction (PyTorch, optax), in TensorFlow before it",
        each("epsilon_place", "outside"),
    ),
    Deviation(
        "adam-epsilon-in-root",
        "epsilon is added under the square root ({epsilon_place}), in TensorFlow after it",
        each("epsilon_place", "root", "root outside"),
    ),
    Deviation(
        "adam-bias-correction",
        "Adam corrects the bias of {bias_correction}, TensorFlow's of both",
        each(
            "bias_correction", "neither moment", "the first moment only", "the second moment only"
        ),
    ),
    Deviation(
        "adam-step-count",
        "Adam's bias correction starts at step {first_step}, TensorFlow's at 1",
        each("first_step", 2, 3),
    ),
    Deviation(
        "adam-beta1",
        "Adam's beta1 is {beta1:.6g}, TensorFlow's is 0.9",
        each("beta1", 0.5, 0.8, 0.95, 0.99, 0.0),
        fitted="beta1",
    ),
    Deviation(
        "adam-beta2",
        "Adam's beta2 is {beta2:.6g}, TensorFlow's is 0.999",
        each("beta2", 0.99, 0.9999, 0.98, 0.95, 0.9),
        fitted="beta2",
    ),
    Deviation(
        "adam-betas-swapped",
        "Adam's beta1 is {beta1:.6g} and its beta2 {beta2:.6g}: they are swapped",
        each("beta1", 0.999, beta2=0.9),
    ),
    Deviation(
        "adam-second-moment",
        "Adam divides by {optimizer}, TensorFlow's by the root of the mean square",
        each("optimizer", "the root of the mean |g|", "the mean |g|", "the mean square"),
    ),
    Deviation(
        "learning-rate",
        "the learning rate is {learning_rate:.6g}, TensorFlow's is 0.001",
        each("learning_rate", 0.01, 0.0001, 0.002, 0.1, 0.0003, -0.001),
        fitted="learning_rate",
    ),
    Deviation(
        "learning-rate-decay",
        "the learning rate decays by 1 / (1 + {learning_rate_decay:.4g} t)",
        each("learning_rate_decay", 0.001, 0.01, 0.1, 1.0),
        fitted="learning_rate_decay",
    ),
    Deviation(
        "shared-slots",
        "the three ops share one optimizer's {shared}, the article's three have their own",
        each("shared", "slots", "slots by variable", "slots with zeros", "moments"),
    ),
    Deviation(
        "shared-beta-powers",
        "the three optimizers share their beta powers, the article's have their own",
        each("shared", "powers"),
    ),
    Deviation(
        "plain-sgd",
        "the optimizer is plain gradient descent (learning rate {learning_rate:.4g})",
        each("learning_rate", *_RATES, optimizer="sgd"),
        fitted="learning_rate",
    ),
    *(
        Deviation(
            optimizer.replace(" ", "-").lower(),
            "the optimizer is " + optimizer + " (learning rate {learning_rate:.4g})",
            each("learning_rate", *_RATES, optimizer=optimizer),
            fitted="learning_rate",
        )
        for optimizer in ("momentum", "nesterov")
    ),
    *(
        Deviation(
            optimizer.replace(" ", "-").lower(),
            "the optimizer is " + optimizer + " (learning rate {learning_rate:.4g})",
            each("learning_rate", 0.001, 0.01, 0.1, optimizer=optimizer),
            fitted="learning_rate",
        )
        for optimizer in (
            "rmsprop",
            "rmsprop of Keras",
            "rmsprop of PyTorch",
            "adagrad",
            "adagrad from zero",
            "amsgrad",
            "adamax",
            "nadam",
            "nadam of TensorFlow 1",
            "simple nadam",
        )
    ),
)
