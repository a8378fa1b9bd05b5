"""Ports the graph of the article itself, on the installed TensorFlow, 1.x or 2.x."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # from NumPy, about dtypes of an old TensorFlow
    try:
        import tensorflow.compat.v1 as tf
    except ImportError:  # TensorFlow before 1.13
        import tensorflow as tf


class Ref:
    """`compat.v1` with the ref variables of TensorFlow 1."""

    options = {"use_resource": False} if hasattr(tf, "disable_v2_behavior") else {}

    def __init__(self, share_W, share_Y1, share_Y2):
        graph = tf.Graph()
        with graph.as_default():
            X, Y1, Y2 = (tf.placeholder("float", [None, None]) for _ in range(3))
            self.w = {
                "share_W": tf.Variable(share_W, name="share_W", **self.options),
                "share_Y1": tf.Variable(share_Y1, name="share_Y1", **self.options),
                "share_Y2": tf.Variable(share_Y2, name="share_Y2", **self.options),
            }
            shared_layer = tf.nn.relu(tf.matmul(X, self.w["share_W"]))
            Y1_Loss = tf.nn.l2_loss(Y1 - tf.nn.relu(tf.matmul(shared_layer, self.w["share_Y1"])))
            Y2_Loss = tf.nn.l2_loss(Y2 - tf.nn.relu(tf.matmul(shared_layer, self.w["share_Y2"])))
            losses = {"joint": Y1_Loss + Y2_Loss, "Y1": Y1_Loss, "Y2": Y2_Loss}
            self.fetches = {
                task: [loss, tf.train.AdamOptimizer().minimize(loss)]
                for task, loss in losses.items()
            }
            self.placeholders = X, Y1, Y2
            self.session = tf.Session(graph=graph)
            if hasattr(tf, "global_variables_initializer"):
                self.session.run(tf.global_variables_initializer())
            else:
                self.session.run(tf.initialize_all_variables())

    def step(self, task, X, Y1, Y2):
        feeds = dict(zip(self.placeholders, (X, Y1, Y2)))
        return self.session.run(self.fetches[task], feeds)[0]

    def weights(self):
        return self.session.run(self.w)


class Resource(Ref):
    """The same with the resource variables of TensorFlow 2."""

    options = {"use_resource": True} if hasattr(tf, "disable_v2_behavior") else {}
