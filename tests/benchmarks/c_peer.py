"""The step in C, compiled here by the compiler of the system: what one core can do."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from typing import Callable

import numpy as np

from tests.benchmarks.problem import ADAM, Problem
from tf1_mtl.errors import InputError

_SOURCE = r"""
#include <math.h>
#include <string.h>
/* B batch, I inputs, S shared units, T outputs of both tasks together; all weights in one array:
   share_W [I, S], then both task layers side by side [S, T]. */
static void adam(float *w, float *m, float *v, const float *g, int n, float alpha) {
    for (int i = 0; i < n; i++) {
        m[i] += (g[i] - m[i]) * (1.0f - BETA1);
        v[i] += (g[i] * g[i] - v[i]) * (1.0f - BETA2);
        w[i] -= alpha * m[i] / (sqrtf(v[i]) + EPSILON);
    }
}

void train(int steps, const float *X, const float *Y, float *w, float *m, float *v, float *powers,
           float *losses) {
    static float s[B][S], h[B][T], ds[B][S], g[I * S + S * T];
    for (int step = 0; step < steps; step++, X += B * I, Y += B * T) {
        const float *W = w, *H = w + I * S;
        float loss = 0;
        memset(s, 0, sizeof s);
        memset(h, 0, sizeof h);
        memset(g, 0, sizeof g);
        for (int b = 0; b < B; b++) {
            for (int i = 0; i < I; i++)
                for (int j = 0; j < S; j++) s[b][j] += X[b * I + i] * W[i * S + j];
            for (int j = 0; j < S; j++) s[b][j] = s[b][j] > 0 ? s[b][j] : 0;
            for (int j = 0; j < S; j++)
                for (int k = 0; k < T; k++) h[b][k] += s[b][j] * H[j * T + k];
            for (int k = 0; k < T; k++) {
                float o = h[b][k] > 0 ? h[b][k] : 0, r = o - Y[b * T + k];
                loss += r * r;
                h[b][k] = o > 0 ? r : 0;
            }
            for (int j = 0; j < S; j++) {
                float d = 0;
                for (int k = 0; k < T; k++) {
                    d += h[b][k] * H[j * T + k];
                    g[I * S + j * T + k] += s[b][j] * h[b][k];
                }
                ds[b][j] = s[b][j] > 0 ? d : 0;
            }
            for (int i = 0; i < I; i++)
                for (int j = 0; j < S; j++) g[i * S + j] += X[b * I + i] * ds[b][j];
        }
        adam(w, m, v, g, I * S + S * T, RATE * sqrtf(1 - powers[1]) / (1 - powers[0]));
        powers[0] *= BETA1;
        powers[1] *= BETA2;
        losses[step] = loss / 2;
    }
}
"""


def compiler() -> str:
    """Returns the C compiler of the system. Raises InputError if it is missing."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    raise InputError("c: no C compiler found (cc, gcc, clang). Install one, or set CC.")


def by_hand(problem: Problem) -> Callable[[], np.ndarray]:
    """Sum in an order that the compiler may choose (-ffast-math), so that it can use vectors."""
    shared_W, Y1_W, Y2_W = problem.weights
    defined = dict(zip(("RATE", "BETA1", "BETA2", "EPSILON"), (f"{value}f" for value in ADAM)))
    sizes = (problem.X.shape[1], *shared_W.shape, Y1_W.shape[1] + Y2_W.shape[1])
    defined.update(zip("BIST", map(str, sizes)))
    with tempfile.TemporaryDirectory() as folder:
        source, library = os.path.join(folder, "step.c"), os.path.join(folder, "step.so")
        with open(source, "w") as file:
            file.write(_SOURCE)
        flags = [f"-D{name}={value}" for name, value in defined.items()]
        flags += ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
        subprocess.run([compiler(), *flags, source, "-o", library, "-lm"], check=True)
        train = ctypes.CDLL(library).train

    weights = np.concatenate([shared_W.ravel(), np.concatenate([Y1_W, Y2_W], 1).ravel()])
    m, v = np.zeros_like(weights), np.zeros_like(weights)
    powers = np.array(ADAM[1:3], np.float32)
    Y = np.concatenate([problem.Y1, problem.Y2], axis=2)
    arrays = [problem.X, Y, weights, m, v, powers]

    def run() -> np.ndarray:
        losses = np.empty(problem.steps, np.float32)
        train(problem.steps, *(ctypes.c_void_p(a.ctypes.data) for a in [*arrays, losses]))
        return losses

    return run
