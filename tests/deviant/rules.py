"""Names the rules of the model that ports break. `port.Deviant` follows them."""

from typing import NamedTuple, Tuple

import numpy as np


class Rules(NamedTuple):
    """Holds what a port may do differently. The defaults are those of TensorFlow."""

    # What is fed and what is kept
    X_factor: float = 1.0
    label_factor: float = 1.0
    feeds_as: str = ""  # a name of ROUNDINGS
    swapped: str = ""  # "labels", "tasks" (Y1's step is Y2's)
    stored_as: str = ""  # a name of ROUNDINGS: how weights are kept between steps
    returned_as: str = "float32"  # the dtype that weights() gives
    transposed: str = ""  # heads: "inside" (used as their transpose), "returned"
    frozen: Tuple[str, ...] = ()  # variables that no step moves
    # The forward pass
    matmul_as: str = ""  # a name of ROUNDINGS, for both operands
    product_as: str = ""  # and for the result
    shared_activation: str = "relu"  # a name of ACTIVATIONS
    task_activation: str = "relu"
    leak: float = 0.01  # the slope below zero, where an activation has one
    shared_slope_at_zero: float = 0.0
    task_slope_at_zero: float = 0.0
    bias: Tuple[str, ...] = ()  # layers with a bias, which starts at zero and is trained
    # The loss
    loss: str = "squares"  # a name of LOSSES
    loss_factor: float = 0.5
    mean_over: str = ""  # "batch", "all"
    joint_factors: Tuple[float, float] = (1.0, 1.0)  # of the two tasks' losses in the joint one
    reported: str = "before"  # "after" the update, of the "other" task, "joint"
    reported_factor: float = 1.0
    # Which gradients reach which weights
    gradient_factor: float = 1.0
    shared_learns_from: str = "both"  # in the joint step: "Y1", "Y2"
    other_head: str = ""  # alternate step: "own loss" moves it, "joint loss" trains everything
    joint_in_turn: str = ""  # "Y1 Y2", "Y2 Y1": two steps, one after the other
    turn_slots: str = "own"  # of these two steps: "own" (of Y1_op and Y2_op) or "joint"
    late: str = ""  # "weights", "gradients": one step old
    head_first: str = ""  # heads move before share_W's gradient: "backward", "forward and backward"
    shared_first: bool = False  # share_W moves before the heads' gradients
    accumulated: bool = False  # gradients are added to those of all steps before
    clip_value: float = np.inf
    clip_norm: float = np.inf
    clip_global_norm: float = np.inf
    l2: float = 0.0  # times the weight, added to its gradient
    l2_in_loss: bool = False
    weight_decay: float = 0.0  # times learning rate and weight, subtracted (AdamW)
    # The optimizer
    optimizer: str = "adam"  # a name of OPTIMIZER_STEPS
    learning_rate: float = 0.001
    learning_rate_decay: float = 0.0  # learning_rate / (1 + decay * steps done)
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_place: str = "hat"  # "outside" the bias correction, inside the "root", "root outside"
    bias_correction: str = "both moments"  # "neither moment", "the first moment only", "... second"
    first_step: int = 1  # the t of the first bias correction
    momentum: float = 0.9
    # Among the three optimizers: "powers", "slots" (and powers), "slots by variable" (each variable
    # counts its own steps), "slots with zeros" (a variable without a gradient moves on), "moments"
    # (m and v, with beta powers of their own)
    shared: str = ""
