"""The known deviations of the model: feeds, weights, forward pass, loss and gradients."""

from deviant.alternatives import ACTIVATIONS
from deviant.deviation import Deviation, each

_OTHER_ACTIVATIONS = tuple(name for name in ACTIVATIONS if name != "linear")
_LEAKS = (0.01, 0.05, 0.1, 0.2, 0.3)
_DECAYS = (0.01, 0.1, 0.001, 1e-4, 1e-5, 0.004)
_LIMITS = (1.0, 5.0, 0.5, 0.1, 10.0, 100.0, 1000.0)

MODEL = (
    # What is fed, kept and returned
    Deviation(
        "weights-float64",
        "weights() returns {returned_as}, TensorFlow's variables are float32",
        each("returned_as", "float64"),
    ),
    Deviation(
        "weights-half-precision",
        "the weights are kept as {stored_as}, TensorFlow's are float32",
        each("stored_as", "float16", returned_as="float16")
        + each("stored_as", "float16", "bfloat16", "bfloat16 cut off"),
    ),
    Deviation(
        "feeds-rounded",
        "the feeds are rounded to {feeds_as} before the first product",
        each("feeds_as", "float16", "bfloat16", "tf32", "integer"),
    ),
    Deviation(
        "X-scaled",
        "X is multiplied by {X_factor:.4g} before it is used",
        each("X_factor", 0.1, 1 / 255, 0.5, 2.0, 10.0, 0.01),
        fitted="X_factor",
    ),
    Deviation(
        "labels-scaled",
        "the labels are multiplied by {label_factor:.4g} before they are used",
        each("label_factor", 0.1, 1 / 255, 0.5, 2.0, 10.0, 0.01, -1.0),
        fitted="label_factor",
    ),
    Deviation(
        "feeds-scaled",
        "X and the labels are multiplied by {X_factor:.4g} before they are used",
        tuple({"X_factor": f, "label_factor": f} for f in (0.1, 1 / 255, 0.5, 2.0, 10.0)),
    ),
    Deviation("targets-swapped", "each task gets the other's labels", each("swapped", "labels")),
    Deviation("tasks-swapped", "Y1's step trains task 2 and Y2's task 1", each("swapped", "tasks")),
    Deviation(
        "heads-transposed",
        "the heads are transposed ({transposed})",
        each("transposed", "inside", "returned"),
    ),
    Deviation("shared-layer-frozen", "share_W is never updated", each("frozen", ("share_W",))),
    Deviation(
        "head-frozen",
        "these are never updated: {frozen}",
        each("frozen", ("share_Y1", "share_Y2"), ("share_Y1",), ("share_Y2",)),
    ),
    # The forward pass
    Deviation(
        "matmul-tf32",
        "products are multiplied in {matmul_as}, TensorFlow on a CPU multiplies in float32",
        each("matmul_as", "tf32", "tf32 cut off"),
    ),
    Deviation(
        "matmul-half-precision",
        "products are multiplied in {matmul_as}, TensorFlow multiplies in float32",
        (
            *each("matmul_as", "bfloat16", "bfloat16 cut off", "float16"),
            {"matmul_as": "bfloat16", "product_as": "bfloat16"},
            {"matmul_as": "float16", "product_as": "float16"},
        ),
    ),
    Deviation(
        "relu-missing-shared",
        "the shared layer has no ReLU",
        each("shared_activation", "linear"),
    ),
    Deviation(
        "relu-missing-task", "the task layers have no ReLU", each("task_activation", "linear")
    ),
    Deviation(
        "relu-missing",
        "no layer has a ReLU",
        each("shared_activation", "linear", task_activation="linear"),
    ),
    Deviation(
        "activation-shared",
        "the shared layer has {shared_activation} in place of the ReLU",
        each("shared_activation", *_OTHER_ACTIVATIONS),
    ),
    Deviation(
        "activation-task",
        "the task layers have {task_activation} in place of the ReLU",
        each("task_activation", *_OTHER_ACTIVATIONS),
    ),
    Deviation(
        "activation",
        "every layer has {task_activation} in place of the ReLU",
        tuple({"shared_activation": a, "task_activation": a} for a in _OTHER_ACTIVATIONS),
    ),
    Deviation(
        "leaky-relu-shared",
        "the shared layer's ReLU has slope {leak:.4g} below zero, TensorFlow's has 0",
        each("leak", *_LEAKS, shared_activation="leaky"),
        fitted="leak",
    ),
    Deviation(
        "leaky-relu-task",
        "the task layers' ReLU has slope {leak:.4g} below zero, TensorFlow's has 0",
        each("leak", *_LEAKS, task_activation="leaky"),
        fitted="leak",
    ),
    Deviation(
        "leaky-relu",
        "every ReLU has slope {leak:.4g} below zero, TensorFlow's has 0",
        each("leak", *_LEAKS, shared_activation="leaky", task_activation="leaky"),
        fitted="leak",
    ),
    Deviation(
        "relu-slope-at-zero",
        "ReLU's gradient at exactly zero is {shared_slope_at_zero:g} in the shared layer and "
        "{task_slope_at_zero:g} in the task layers, TensorFlow's is 0",
        tuple(
            {"shared_slope_at_zero": shared, "task_slope_at_zero": task}
            for shared, task in ((1, 1), (0.5, 0.5), (1, 0), (0, 1), (0.5, 0), (0, 0.5))
        ),
    ),
    Deviation(
        "bias-added",
        "these layers have a bias, the article's have none: {bias}",
        each("bias", ("shared", "Y1", "Y2"), ("shared",), ("Y1", "Y2")),
    ),
    # The loss
    Deviation(
        "l2-without-half",
        "the loss is the sum of squares without the half of tf.nn.l2_loss",
        each("loss_factor", 1.0),
    ),
    Deviation(
        "mean-over-batch",
        "the loss is averaged over the batch (factor {loss_factor:g}), tf.nn.l2_loss is a sum / 2",
        each("loss_factor", 1.0, 0.5, mean_over="batch"),
    ),
    Deviation(
        "mean-over-all",
        "the loss is a mean over all outputs (factor {loss_factor:g}), tf.nn.l2_loss is a sum / 2",
        each("loss_factor", 1.0, 0.5, mean_over="all"),
    ),
    Deviation(
        "loss-scaled",
        "the sum of squares is multiplied by {loss_factor:.4g}, in tf.nn.l2_loss by 0.5",
        each("loss_factor", 2.0, 0.1, 5.0, 0.25, 0.05, 0.005, 1e-3),
        fitted="loss_factor",
    ),
    Deviation(
        "other-loss",
        "the loss is {loss}, tf.nn.l2_loss is the sum of squares / 2",
        tuple(
            {"loss": loss, "mean_over": mean}
            for loss in ("the absolute error", "Huber's", "log-cosh")
            for mean in ("", "all", "batch")
        ),
    ),
    Deviation(
        "joint-average",
        "the joint loss is the average of the two, the article's is their sum",
        each("joint_factors", (0.5, 0.5)),
    ),
    Deviation(
        "joint-weighted",
        "the tasks' losses are weighted {joint_factors} in the joint loss, the article's 1 and 1",
        each("joint_factors", (1, 0.5), (0.5, 1), (1, 0.1), (0.1, 1), (1, 0), (0, 1), (2, 2)),
    ),
    Deviation(
        "joint-in-two-steps",
        "a joint step is two steps, {joint_in_turn}, in {turn_slots} slots",
        tuple(
            {"joint_in_turn": order, "turn_slots": slots, "reported": reported}
            for order in ("Y1 Y2", "Y2 Y1")
            for slots in ("own", "joint")
            for reported in ("before", "joint")
        ),
    ),
    Deviation("loss-after-update", "the loss is taken after the update", each("reported", "after")),
    Deviation(
        "reports-another-loss",
        "an alternate step reports the {reported} task's loss",
        each("reported", "joint", "other"),
    ),
    Deviation(
        "reported-loss-scaled",
        "the loss is reported times {reported_factor:.4g}, and trained on as it should be",
        each("reported_factor", 2.0, 0.5, 0.1, 0.005, 0.0025),
        fitted="reported_factor",
    ),
    # Which gradients reach which weights
    Deviation(
        "other-head-moves",
        "an alternate step also moves the other task's head ({other_head})",
        each("other_head", "own loss", "joint loss")
        + each("other_head", "joint loss", reported="own"),
    ),
    Deviation(
        "shared-learns-from-one-task",
        "in a joint step share_W learns from {shared_learns_from} only",
        each("shared_learns_from", "Y1", "Y2"),
    ),
    Deviation("stale", "{late} are one step old", each("late", "gradients", "weights")),
    Deviation(
        "gradients-accumulate",
        "gradients add to those of the steps before (not zeroed)",
        each("accumulated", True),
    ),
    Deviation(
        "heads-move-first",
        "share_W's gradient is taken through heads that have already moved ({head_first})",
        each("head_first", "backward", "forward and backward"),
    ),
    Deviation(
        "shared-layer-moves-first",
        "the heads' gradients are taken after share_W has moved, through a new forward pass",
        each("shared_first", True),
    ),
    Deviation(
        "clip-by-value",
        "gradients are clipped at {clip_value:.4g}",
        each("clip_value", *_LIMITS),
        fitted="clip_value",
    ),
    Deviation(
        "clip-by-norm",
        "each gradient's norm is clipped at {clip_norm:.4g}",
        each("clip_norm", *_LIMITS),
        fitted="clip_norm",
    ),
    Deviation(
        "clip-by-global-norm",
        "the gradients' common norm is clipped at {clip_global_norm:.4g}",
        each("clip_global_norm", *_LIMITS),
        fitted="clip_global_norm",
    ),
    Deviation(
        "weight-decay",
        "weights decay by {weight_decay:.4g} of the learning rate a step (AdamW)",
        each("weight_decay", 0.01, 0.1, 0.001, 1e-4, 0.004),
        fitted="weight_decay",
    ),
    Deviation(
        "l2-penalty",
        "{l2:.4g} times the weight is added to its gradient",
        each("l2", *_DECAYS),
        fitted="l2",
    ),
    Deviation(
        "l2-penalty-in-loss",
        "an L2 penalty of all weights, {l2:.4g} / 2 times their squares, is part of the loss",
        each("l2", *_DECAYS, l2_in_loss=True),
        fitted="l2",
    ),
)
