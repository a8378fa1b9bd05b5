"""Builds the graph of the article with mistakes of real scripts, on TensorFlow 1 or `compat.v1`."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # from NumPy, about dtypes of an old TensorFlow
    import tensorflow.compat.v1 as tf


class Conformant:
    """Builds the graph of the article."""

    def __init__(self, share_W, share_Y1, share_Y2):
        graph = tf.Graph()
        with graph.as_default():
            self.placeholders = [tf.placeholder("float", [None, None]) for _ in range(3)]
            X, Y1, Y2 = self.placeholders
            self.w = {
                "share_W": tf.Variable(share_W, use_resource=False),
                "share_Y1": tf.Variable(share_Y1, use_resource=False),
                "share_Y2": tf.Variable(share_Y2, use_resource=False),
            }
            hidden = self.relu(tf.matmul(X, self.w["share_W"]))
            losses = {
                "Y1": self.loss(Y1, self.relu(tf.matmul(hidden, self.w["share_Y1"]))),
                "Y2": self.loss_2(Y2, self.relu(tf.matmul(hidden, self.w["share_Y2"]))),
            }
            losses["joint"] = losses["Y1"] + losses["Y2"]
            self.build(losses)
            self.session = tf.Session(graph=graph)
            self.session.run(tf.global_variables_initializer())

    def relu(self, z):
        return tf.nn.relu(z)

    def loss(self, label, output):
        return tf.nn.l2_loss(label - output)

    def loss_2(self, label, output):
        return self.loss(label, output)

    def build(self, losses):
        self.fetches = {
            task: [loss, tf.train.AdamOptimizer().minimize(loss)] for task, loss in losses.items()
        }

    def step(self, task, X, Y1, Y2):
        feeds = dict(zip(self.placeholders, (X, Y1, Y2)))
        return self.session.run(self.fetches[task], feeds)[0]

    def weights(self):
        return self.session.run(self.w)


class OneOptimizer(Conformant):
    """One `AdamOptimizer()` makes three training operations."""

    def build(self, losses):
        adam = tf.train.AdamOptimizer()
        self.fetches = {task: [loss, adam.minimize(loss)] for task, loss in losses.items()}


class Maximum(Conformant):
    """`tf.maximum(z, 0)`, whose gradient at zero is 1."""

    def relu(self, z):
        return tf.maximum(z, 0.0)


class SumOfSquares(Conformant):
    """Y2_Loss is a `reduce_sum` of squares."""

    def loss_2(self, label, output):
        return tf.reduce_sum(tf.square(label - output))


class HeadsOnly(Conformant):
    """`var_list` of the alternate training operations has the own head only."""

    def build(self, losses):
        self.fetches = {
            task: [
                loss,
                tf.train.AdamOptimizer().minimize(
                    loss, var_list=None if task == "joint" else [self.w["share_" + task]]
                ),
            ]
            for task, loss in losses.items()
        }


class BothOps(Conformant):
    """A joint run fetches Y1_op and Y2_op."""

    def step(self, task, *given):
        if task != "joint":
            return super().step(task, *given)
        feeds = dict(zip(self.placeholders, given))
        loss = self.session.run(self.fetches["joint"][0], feeds)
        for one in ("Y1", "Y2"):
            self.session.run(self.fetches[one], feeds)
        return loss


class InitializedAgain(Conformant):
    """The slots and beta powers are initialized again whenever the task changes."""

    before = None

    def build(self, losses):
        super().build(losses)
        weights = {variable.name for variable in self.w.values()}
        state = [v for v in tf.global_variables() if v.name not in weights]
        self.restart = tf.variables_initializer(state)

    def step(self, task, *given):
        if task != self.before:
            self.session.run(self.restart)
        self.before = task
        return super().step(task, *given)
