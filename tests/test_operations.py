"""Each operation of the evaluator against TensorFlow itself, within its bound."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from operation_cases import VERSION, Case, Results, selected_cases
from sampling import one_in

RAW = getattr(tf, "raw_ops", None)
RNG = np.random.RandomState(0)


def normal(*shape):
    return np.asarray(RNG.randn(*shape), np.float32)


def positive(*shape):
    return np.asarray(RNG.uniform(0.1, 3, shape), np.float32)


def whole(limit, *shape):
    return RNG.randint(0, limit, shape).astype(np.int32)


SPECIAL = np.array([0, -0.0, 1, -1, 0.5, -2.5, 3, 1e-20, -30, 30, 6, 1.5], np.float32)
POSITIVE = np.array([0.01, 0.25, 1, 1.0001, 7, 1e20, 80], np.float32)
UNIT = np.array([-0.9, -0.5, -1e-6, 0, 0.3, 0.99], np.float32)
TIES = np.array([[1, 3, 3, 2], [0, 0, 0, 0], [-1, -1, -2, -1]], np.float32)
EMPTY = np.zeros((0, 3), np.float32)


def unary(name, function, *inputs, **more):
    return [Case(f"{name}_{i}", function, x, **more) for i, x in enumerate(inputs)]


def functions():
    everywhere = {
        "Abs": tf.abs,
        "Atan": tf.atan,
        "Asinh": tf.asinh,
        "Ceil": tf.ceil,
        "Cos": tf.cos,
        "Elu": tf.nn.elu,
        "Erf": tf.erf,
        "Exp": tf.exp,
        "Expm1": tf.expm1,
        "Floor": tf.floor,
        "LeakyRelu": tf.nn.leaky_relu,
        "LeakyRelu3": lambda x: tf.nn.leaky_relu(x, 0.3),
        "Neg": tf.negative,
        "Relu": tf.nn.relu,
        "Relu6": tf.nn.relu6,
        "Rint": tf.rint,
        "Round": tf.round,
        "Selu": tf.nn.selu,
        "Sigmoid": tf.sigmoid,
        "Sign": tf.sign,
        "Sin": tf.sin,
        "Softplus": tf.nn.softplus,
        "Softsign": tf.nn.softsign,
        "Square": tf.square,
        "Tanh": tf.tanh,
    }
    for name, function in everywhere.items():
        loose = name in ("Sigmoid", "Softplus", "Elu", "Selu", "Tanh", "Erf", "Ceil", "Floor")
        loose = loose or name in ("Rint", "Round", "Relu6", "Sin", "Cos", "Asinh")
        yield from unary(name, function, SPECIAL, loose=loose)
        yield from unary(name + "_random", function, normal(3, 4), EMPTY)
    for name, function in {
        "Log": tf.log,
        "Log1p": tf.log1p,
        "Reciprocal": tf.reciprocal,
        "Rsqrt": tf.rsqrt,
        "Sqrt": tf.sqrt,
        "Lgamma": tf.lgamma,
    }.items():
        # Lgamma is 0 at 1 and 2. Its gradient, Digamma, is not in the table.
        more = {"loose": True, "gradient": False} if name == "Lgamma" else {"loose": name == "Log"}
        yield from unary(name, function, POSITIVE, positive(3, 4), EMPTY, **more)
    for name, function in {
        "Acos": tf.acos,
        "Asin": tf.asin,
        "Atanh": tf.atanh,
        "Tan": tf.tan,
        "Sinh": tf.sinh,
        "Cosh": tf.cosh,
        "Erfc": tf.erfc,
    }.items():
        yield from unary(name, function, UNIT, loose=True)
    yield from unary("Acosh", tf.acosh, np.array([1.1, 2, 50], np.float32))
    yield Case("Selu_at_zero", tf.nn.selu, [0, 1e-4, -1e-4], loose=True)
    yield Case("Exp_overflow", tf.exp, [88, 89, 100, -100, -104], gradient=False, loose=True)
    yield Case("Sigmoid_ends", tf.sigmoid, [-100, -20, -15, 20, 100], loose=True)


def arithmetic():
    shapes = {
        "same": (normal(3, 4), normal(3, 4)),
        "row": (normal(3, 4), normal(4)),
        "column": (normal(3, 1), normal(1, 4)),
        "scalar": (normal(2, 3), normal()),
        "empty": (EMPTY, normal(3)),
        "one": (normal(1, 1), normal(1)),
    }
    for name, function in {
        "Add": tf.add,
        "Sub": tf.subtract,
        "Mul": tf.multiply,
        "RealDiv": tf.divide,
        "SquaredDifference": tf.squared_difference,
        "Maximum": tf.maximum,
        "Minimum": tf.minimum,
        "FloorMod": tf.floormod,
        "FloorDiv": tf.floordiv,
        "DivNoNan": tf.div_no_nan,
    }.items():
        for shape, inputs in shapes.items():
            yield Case(f"{name}_{shape}", function, *inputs, loose=name == "FloorMod")
    yield Case("Pow", tf.pow, positive(3, 4), normal(4), loose=True)
    for exponent in (2.0, 0.5, -0.5, 3.0, 1.0, 0.0):
        yield Case(f"Pow_{exponent}", lambda x, e=exponent: tf.pow(x, e), positive(5))
    yield Case("Pow_negative", lambda x: tf.pow(x, 2.0), SPECIAL)
    yield Case("DivNoNan_zero", tf.div_no_nan, [1, 0, -2], [0, 0, 4])
    yield Case("Maximum_ties", tf.maximum, TIES, TIES[::-1].copy())
    yield Case("AddN", lambda *x: tf.add_n(x), normal(2, 3), normal(2, 3), normal(2, 3))
    yield Case("ClipByValue", lambda x: tf.clip_by_value(x, -0.5, 0.5), normal(4, 4))
    yield Case("clip_by_norm", lambda x: tf.clip_by_norm(x, 0.5), normal(4, 4))
    yield Case("clip_by_norm_zero", lambda x: tf.clip_by_norm(x, 0.5), [0, 0], gradient=False)
    yield Case(
        "Ints",
        lambda a, b: [
            a + b,
            a * b,
            a - b,
            a // (b + 1),
            a % (b + 1),
            tf.maximum(a, b),
            -a,
            tf.square(a),
            tf.abs(a),
        ],
        whole(9, 4) - 4,
        whole(5, 4),
    )
    yield Case(
        "Ints_truncate",
        lambda a, b: [RAW.TruncateDiv(x=a, y=b), RAW.TruncateMod(x=a, y=b)],
        whole(9, 6) - 4,
        whole(3, 6) + 1,
    )
    yield Case(
        "xlogy",
        lambda a, b: [RAW.Xlogy(x=a, y=b), RAW.Xdivy(x=a, y=b)],
        [0, 1, 2],
        [0, 0.5, 3],
        gradient=False,
        loose=True,
    )


def decisions():
    a = np.array([0, 1, 1, -1, 1e-3, 2], np.float32)
    b = np.array([1e-4, 1.002, 1.0005, -0.9999, 0, -2], np.float32)
    for function in (tf.equal, tf.not_equal, tf.greater, tf.greater_equal, tf.less, tf.less_equal):
        yield Case(function.__name__, function, a, b)
        yield Case(
            function.__name__ + "_chosen",
            lambda x, y, f=function: tf.where(f(x, y), 2.0 * x, tf.exp(y)),
            a,
            b,
        )
        yield Case(
            function.__name__ + "_cast",
            lambda x, y, f=function: tf.reduce_mean(tf.cast(f(x, y), tf.float32)),
            a,
            b,
            gradient=False,
        )
    yield Case(
        "logic",
        lambda x, y: [
            tf.logical_and(x > y, x > 0.5),
            tf.logical_or(x > y, x > 0.5),
            tf.logical_not(x > y),
            tf.reduce_all(x > y),
            tf.reduce_any(x >= y),
            tf.is_finite(x),
            tf.is_nan(x),
        ],
        a,
        b,
    )
    yield Case(
        "Select_rows",
        lambda c, x, y: RAW.Select(condition=c, x=x, y=y),
        np.array([True, False, True]),
        normal(3, 2),
        normal(3, 2),
    )
    yield Case(
        "Select_broadcast",
        lambda c, x, y: tf.where_v2(c, x, y),
        np.array([[True], [False], [True]]),
        normal(3, 2),
        normal(2),
        since=(1, 15),
    )
    yield Case(
        "Cast_to_int",
        lambda x: [tf.cast(x, tf.int32), tf.cast(x, tf.int64), tf.cast(x, tf.bool)],
        np.array([0.5, -0.5, 1.9999, 2.0001, -3.2, 7], np.float32),
    )
    yield Case(
        "Cast_of_int",
        lambda x: [tf.cast(x, tf.float32), tf.cast(x > 2, tf.int32), tf.cast(x, tf.float64)],
        whole(5, 4),
    )
    yield Case(
        "Cast_half", lambda x: tf.cast(tf.cast(x, tf.float16), tf.float32), SPECIAL, loose=True
    )
    yield Case("Cast_double", lambda x: tf.cast(tf.cast(x, tf.float64) * 3, tf.float32), SPECIAL)
    yield Case(
        "ArgMax",
        lambda x: [tf.argmax(x, 1), tf.argmin(x, 0), tf.argmax(x, -1, output_type=tf.int32)],
        TIES,
    )
    yield Case("ArgMax_random", lambda x: [tf.argmax(x, 1), tf.argmin(x, 0)], normal(4, 5))
    yield Case(
        "accuracy",
        lambda x, y: tf.reduce_mean(
            tf.cast(tf.equal(tf.argmax(x, 1, output_type=tf.int32), y), tf.float32)
        ),
        TIES,
        whole(4, 3),
        gradient=False,
    )
    yield Case("one_hot_of_argmax", lambda x: tf.one_hot(tf.argmax(x, 1), 4), TIES, gradient=False)
    yield Case("gather_of_argmax", lambda x, y: tf.gather(y, tf.argmax(x, 1)), TIES, normal(4, 2))
    yield Case("boolean_mask", lambda x: tf.reduce_sum(tf.boolean_mask(x, x > 0.2)), normal(20))
    yield Case(
        "cond", lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: x * 3), normal(3)
    )
    yield Case(
        "cond_undecided",
        lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: x * 3),
        [1, -1],
    )
    yield Case(
        "staircase",
        lambda x: 0.1 * tf.pow(0.5, tf.floor(tf.cast(x, tf.float32) / 5)),
        np.array([0, 4, 5, 9, 10, 11], np.int32),
        gradient=False,
    )


def reductions():
    for name, function in {
        "Sum": tf.reduce_sum,
        "Mean": tf.reduce_mean,
        "Max": tf.reduce_max,
        "Min": tf.reduce_min,
        "Prod": tf.reduce_prod,
    }.items():
        x = normal(2, 3, 4)
        for label, axis in {"all": None, "first": 0, "last": -1, "two": (0, 2)}.items():
            for keep in (False, True):
                yield Case(
                    f"{name}_{label}_{keep}",
                    lambda x, f=function, axis=axis, keep=keep: f(x, axis=axis, keepdims=keep),
                    x,
                    loose=axis is None,
                )
        yield Case(f"{name}_empty", lambda x, f=function: f(x, axis=0), EMPTY)
        yield Case(f"{name}_scalar", function, np.float32(2.5).reshape(()))
        yield Case(f"{name}_ints", function, whole(5, 3, 2))
        yield Case(
            f"{name}_zeros",
            lambda x, f=function: f(x, axis=1),
            [[0, 2, 0], [1, 2, 0], [1, 1, 1]],
            ties=True,
        )
    yield Case("Max_ties", lambda x: tf.reduce_max(x, axis=1), TIES, ties=True)
    yield Case("Max_copies", lambda x: tf.reduce_max(tf.stack([x, x / 2, x]), axis=0), normal(4))
    yield Case(
        "Equal_copies", lambda x: [tf.equal(x, x), tf.not_equal(x, tf.identity(x))], normal(4)
    )
    yield Case("logsumexp", lambda x: tf.reduce_logsumexp(x, axis=1), normal(3, 4) * 10)
    yield Case("norm", lambda x: tf.norm(x, axis=1), normal(3, 4))
    yield Case(
        "EuclideanNorm", lambda x: tf.math.reduce_euclidean_norm(x), normal(3, 4), since=(1, 15)
    )
    yield Case("moments", lambda x: tf.nn.moments(x, [0]), normal(6, 3))
    yield Case("L2Loss", tf.nn.l2_loss, normal(5, 7))
    yield Case("l2_normalize", lambda x: tf.nn.l2_normalize(x, 1), normal(3, 4))
    for exclusive in (False, True):
        for backward in (False, True):
            yield Case(
                f"Cumsum_{exclusive}_{backward}",
                lambda x, e=exclusive, r=backward: [tf.cumsum(x, 1, e, r), tf.cumprod(x, 0, e, r)],
                normal(3, 4),
                loose=True,
            )
    yield Case("Cumsum_ints", lambda x: tf.cumsum(x), whole(5, 6))


def products():
    for left in (False, True):
        for right in (False, True):
            yield Case(
                f"MatMul_{left}_{right}",
                lambda a, b, s=left, t=right: tf.matmul(a, b, transpose_a=s, transpose_b=t),
                normal(4, 3) if left else normal(3, 4),
                normal(5, 4) if right else normal(4, 5),
            )
            yield Case(
                f"BatchMatMul_{left}_{right}",
                lambda a, b, s=left, t=right: tf.matmul(a, b, adjoint_a=s, adjoint_b=t),
                normal(2, 4, 3) if left else normal(2, 3, 4),
                normal(2, 5, 4) if right else normal(2, 4, 5),
            )
    yield Case("BatchMatMul_broadcast", tf.matmul, normal(2, 3, 4), normal(1, 4, 2), since=(1, 15))
    yield Case("MatMul_empty", tf.matmul, normal(0, 3), normal(3, 2))
    yield Case("MatMul_inner_empty", tf.matmul, normal(2, 0), normal(0, 3))
    yield Case("MatMul_large", tf.matmul, normal(20, 300), normal(300, 20), loose=True)
    yield Case(
        "Einsum", lambda a, b: tf.einsum("bij,bjk->bik", a, b), normal(2, 3, 4), normal(2, 4, 5)
    )
    yield Case("Einsum_outer", lambda a, b: tf.einsum("i,j->ij", a, b), normal(3), normal(4))
    yield Case(
        "tensordot", lambda a, b: tf.tensordot(a, b, [[1], [0]]), normal(2, 3), normal(3, 4, 2)
    )
    yield Case("BiasAdd", tf.nn.bias_add, normal(2, 3, 4), normal(4))
    yield Case("BiasAdd_2d", tf.nn.bias_add, normal(5, 4), normal(4))
    yield Case(
        "BiasAdd_first",
        lambda x, b: tf.nn.bias_add(x, b, data_format="NCHW"),
        normal(2, 3, 4, 5),
        normal(3),
    )
    yield Case(
        "SparseTensorDenseMatMul",
        lambda v, b: tf.sparse_tensor_dense_matmul(
            tf.SparseTensor([[0, 1], [2, 0], [2, 3]], v, [3, 4]), b
        ),
        normal(3),
        normal(4, 2),
    )


def structure():
    x = normal(2, 3, 4)
    for name, function in {
        "Reshape": lambda x: tf.reshape(x, [4, -1]),
        "ExpandDims": lambda x: tf.expand_dims(x, -2),
        "Transpose": lambda x: tf.transpose(x, [2, 0, 1]),
        "Tile": lambda x: tf.tile(x, [2, 1, 3]),
        "Pack": lambda x: tf.stack([x, 2 * x], 1),
        "Unpack": lambda x: tf.unstack(x, axis=1),
        "Concat": lambda x: tf.concat([x, x * x], -1),
        "Split": lambda x: tf.split(x, 2, 2),
        "SplitV": lambda x: tf.split(x, [1, -1], 1),
        "Slice": lambda x: tf.slice(x, [0, 1, 1], [-1, 2, 2]),
        "Pad": lambda x: tf.pad(x, [[0, 0], [1, 2], [2, 0]]),
        "PadV2": lambda x: tf.pad(x, [[0, 0], [1, 2], [2, 0]], constant_values=1.5),
        "MirrorPad_reflect": lambda x: tf.pad(x, [[0, 0], [1, 2], [2, 0]], "REFLECT"),
        "MirrorPad_symmetric": lambda x: tf.pad(x, [[1, 2], [1, 2], [2, 0]], "SYMMETRIC"),
        "Reverse": lambda x: tf.reverse(x, [0, 2]),
        "Roll": lambda x: tf.roll(x, [1, -2], [0, 2]),
        "BroadcastTo": lambda x: tf.broadcast_to(x, [5, 2, 3, 4]),
        "Gather": lambda x: tf.gather(x, [[0, 1], [1, 1]], axis=0),
        "Gather_axis": lambda x: tf.gather(x, [2, 0, 2], axis=1),
        "GatherNd": lambda x: tf.gather_nd(x, [[0, 1], [1, 2], [0, 1]]),
        "MatrixBandPart": lambda x: tf.matrix_band_part(x, 1, 0),
        "ZerosLike": lambda x: [tf.zeros_like(x), tf.ones_like(x), tf.fill([2], x[0, 0, 0])],
        "SpaceToBatchND": lambda x: tf.space_to_batch_nd(x, [2, 3], [[1, 0], [1, 1]]),
        "ReverseSequence": lambda x: tf.reverse_sequence(x, [2, 3], seq_axis=1, batch_axis=0),
        "Shapes": lambda x: [tf.shape(x), tf.size(x), tf.rank(x), *tf.shape_n([x, x[0]])],
        "StopGradient": lambda x: x * tf.stop_gradient(x),
        "Identities": lambda x: [*tf.identity_n([x, x + 1]), tf.check_numerics(x, "m")],
        "DynamicPartition": lambda x: tf.dynamic_partition(x, [[0, 1, 0], [1, 1, 0]], 2),
    }.items():
        yield Case(name, function, x)
    for name, index in {
        "all": np.s_[:],
        "first": np.s_[0],
        "last": np.s_[-1, ..., -1],
        "new": np.s_[:, tf.newaxis, 1:],
        "steps": np.s_[::-1, ::2, 1:3],
        "ends": np.s_[..., :-1],
        "back": np.s_[:, 2:0:-1, 3:-5:-2],
        "far": np.s_[0:9, 1:9],
    }.items():
        yield Case(f"StridedSlice_{name}", lambda x, index=index: x[index], x)
    yield Case("Squeeze", lambda x: [tf.squeeze(x), tf.squeeze(x, [0])], normal(1, 3, 1))
    yield Case("Concat_empty", lambda x, y: tf.concat([x, y], 0), EMPTY, normal(2, 3))
    yield Case(
        "Diag", lambda x: [tf.diag(x), tf.diag_part(tf.diag(x)), tf.matrix_diag(x)], normal(3)
    )
    yield Case("MatrixDiagPart", tf.matrix_diag_part, normal(2, 3, 3), gradient=False)
    yield Case(
        "SpaceToDepth",
        lambda x: [tf.space_to_depth(x, 2), tf.depth_to_space(x, 2)],
        normal(2, 4, 6, 4),
    )
    yield Case(
        "BatchToSpaceND",
        lambda x: tf.batch_to_space_nd(x, [2, 3], [[1, 0], [0, 2]]),
        normal(12, 2, 3, 2),
    )
    yield Case(
        "Range",
        lambda x: [tf.range(2, x, 3), tf.range(x), tf.linspace(0.0, 1.0, x)],
        np.int32(9).reshape(()),
    )
    yield Case(
        "Range_floats",
        lambda x: tf.range(0.0, x, 0.3)[:7],
        np.float32(2).reshape(()),
        gradient=False,
    )
    yield Case(
        "OneHot",
        lambda i: [tf.one_hot(i, 4), tf.one_hot(i, 4, 2.0, -1.0, axis=0)],
        np.array([[0, 3], [-1, 4]], np.int32),
    )
    yield Case("InvertPermutation", tf.invert_permutation, np.array([2, 0, 1], np.int32))
    yield Case(
        "MatrixDiagV3",
        lambda x: [tf.linalg.diag(x), tf.linalg.diag_part(tf.linalg.diag(x))],
        normal(2, 3),
    )


def parts_of_sparse(x):
    return [x.indices, x.values, x.dense_shape]


def indexing():
    yield Case(
        "UnsortedSegmentSum",
        lambda x, i: tf.unsorted_segment_sum(x, i, 5),
        normal(6, 2),
        np.array([0, 3, 3, -1, 0, 3], np.int32),
    )
    yield Case(
        "UnsortedSegmentSum_2d",
        lambda x, i: tf.unsorted_segment_sum(x, i, 4),
        normal(2, 3, 2),
        whole(4, 2, 3),
    )
    yield Case(
        "UnsortedSegmentMax",
        lambda x, i: tf.unsorted_segment_max(x, i, 3),
        normal(6, 2),
        whole(3, 6),
        gradient=False,
    )
    ids = np.array([0, 0, 1, 3, 3, 3], np.int32)
    for name in ("sum", "mean", "max", "min"):
        yield Case(
            f"Segment_{name}",
            lambda x, i, n=name: getattr(tf, "segment_" + n)(x, i),
            normal(6, 2),
            ids,
            gradient=name == "sum",
        )
    at = np.array([4, 0, 4, 1, 2, 2], np.int32)
    for name in ("sum", "mean", "sqrt_n"):
        yield Case(
            f"SparseSegment_{name}",
            lambda x, j, i, n=name: getattr(tf, "sparse_segment_" + n)(x, j, i),
            normal(5, 2),
            at,
            ids,
            gradient=VERSION < (2, 0) or name != "sum",
        )
    yield Case(
        "ScatterNd",
        lambda i, x: tf.scatter_nd(i, x, [4, 3, 2]),
        np.array([[0, 1], [3, 2], [0, 1]], np.int32),
        normal(3, 2),
    )
    yield Case(
        "TensorScatter",
        lambda x, y: [
            tf.tensor_scatter_update(x, [[1], [3]], y),
            tf.tensor_scatter_add(x, [[1], [1]], y),
        ],
        normal(4, 2),
        normal(2, 2),
        gradient=False,
    )
    yield Case(
        "DynamicStitch",
        lambda x, y: tf.dynamic_stitch([[0, 3], [[2, 1]]], [x, y]),
        normal(2, 3),
        normal(1, 2, 3),
    )
    yield Case(
        "Unique",
        lambda x: [*tf.unique(x), *tf.unique_with_counts(x)],
        np.array([5, 2, 5, 9, 2, 5], np.int32),
    )
    yield Case("Where", tf.where, np.array([[True, False], [True, True]]))
    yield Case(
        "ListDiff",
        lambda x, y: list(tf.setdiff1d(x, y)),
        np.array([1, 2, 3, 4, 2], np.int32),
        np.array([2, 5], np.int32),
    )
    for kind in ("difference", "intersection", "union"):
        yield Case(
            f"Sets_{kind}",
            lambda x, y, kind=kind: parts_of_sparse(getattr(tf.sets, kind)(x, y)),
            np.array([[1, 2, 3, 4], [7, 2, 2, 9]], np.int32),
            np.array([[2, 5, 2], [2, 7, 9]], np.int32),
        )
    yield Case(
        "ComputeAccidentalHits",
        lambda x, y: list(tf.nn.compute_accidental_hits(x, y, 2)),
        np.array([[3, 1], [0, 5], [5, 3]], np.int64),
        np.array([5, 3, 4], np.int64),
    )
    yield Case(
        "SparseToDense",
        lambda i, x: tf.sparse_to_dense(i, [5], x, 0.5),
        np.array([[1], [3]], np.int64),
        normal(2),
    )
    yield Case("TopK", lambda x: list(tf.nn.top_k(x, 2)), normal(3, 5))
    yield Case("TopK_ties", lambda x: list(tf.nn.top_k(x, 3)), TIES)
    yield Case("InTopK", lambda x, y: tf.nn.in_top_k(x, y, 2), normal(5, 4), whole(4, 5))
    yield Case(
        "InTopK_ties", lambda x, y: tf.nn.in_top_k(x, y, 2), TIES, np.array([1, 3, 3], np.int32)
    )
    yield Case(
        "embedding",
        lambda w, i: tf.nn.embedding_lookup(w, i),
        normal(5, 3),
        np.array([[4, 0], [4, 4]], np.int32),
    )
    yield Case(
        "confusion",
        lambda a, b: tf.confusion_matrix(a, b, 3, dtype=tf.float32),
        whole(3, 6),
        whole(3, 6),
    )


CASES = [
    case
    for group in (functions, arithmetic, decisions, reductions, products, structure, indexing)
    for case in group()
    if case.since <= VERSION
]


@pytest.fixture(scope="module")
def results(request):
    """Evaluates the cases that this run tests."""
    return Results(selected_cases(request))


@pytest.mark.parametrize("case", one_in(4, CASES), ids=lambda case: case.name)
def test_an_operation_agrees_with_tensorflow(results, case):
    results.check(case)
