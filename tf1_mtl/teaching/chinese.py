"""Translates the words of pictures and tables into Chinese."""

import re
from typing import Tuple

#: Patterns of whole phrases, and their translations. A name in them is not changed.
PHRASES: Tuple[Tuple[str, str], ...] = (
    (r"placeholders", "占位符"),
    (r"placeholder (\[.*\])", r"占位符 \1"),
    (r"variable (\[.*\])", r"变量 \1"),
    (r"trained by (.*)", r"训练者：\1"),
    (r"trains (.*)", r"训练 \1"),
    (r"own variables: (\d+)", r"自有变量：\1 个"),
    (r"Adam on (.*)", r"对 \1 的 Adam"),
    (r"scalar", "标量"),
    (r"must be fed", "必须喂入"),
    (r"need not be fed", "无须喂入"),
    (r"CHANGED by this run", "本次运行改变了它"),
    (r"WRITTEN by this run", "被本次运行写入"),
    (r"WRITTEN, same value", "被写入，值未变"),
    (r"read, not changed", "被读取，未改变"),
    (r"not touched", "未触及"),
    (r"does not run", "不运行"),
    (r"not run: (.*)", r"未运行：\1"),
    (
        r"solid arrow: a value; dashed arrow: the loss that an optimizer minimizes",
        "实线箭头：数值；虚线箭头：优化器所最小化的损失",
    ),
    (
        r"filled: runs; grey and dotted: does not run; thick border: written by this run",
        "着色：运行；灰色虚线：不运行；粗边框：被本次运行写入",
    ),
    (
        r"colour: the process, named in the box; thick arrow: sent to another process",
        "颜色：所在进程，框中写明；粗箭头：传送到另一进程",
    ),
    (r"on ((ps|worker)/.*)", r"位于 \1"),
    (r"cuts the rows", "切分各行"),
    (r"loss and gradients", "损失与梯度"),
    (r"of a part of the rows", "只算一部分行"),
    (
        r"replicas/0/, ...: .*",
        "replicas/0/ 等：各层的副本，各算一部分行；Optimiser 把梯度相加",
    ),
    (r"and what leads to it:", "及其之前的运算："),
    (r"variables: (\d+)", r"变量：\1 个"),
    (r"WRITTEN variables: (\d+)", r"被写入的变量：\1 个"),
    (r"runs: (\d+) of (\d+)", r"运行：\2 个中的 \1 个"),
    (r"… : a part of a long name is left out", "…：省略了长名称的一部分"),
    (
        r"folded: (\d+) operations, into (\d+) boxes; not drawn: (\d+) nodes, .*",
        r"已折叠：\1 个运算归入 \2 个方框；未画出：\3 个节点，如常量、梯度、初始化与保存",
    ),
    (r"not drawn: (\d+) of the optimizers", r"未画出：\1 个优化器"),
    (r"shared layer", "共享层"),
    (r"model", "模型"),
    (r"task (\d+) \((.*)\)", r"任务 \1（\2）"),
    (r"losses", "损失"),
    (r"gradients of (.*)", r"\1 的梯度"),
    (r"optimizer (.*)", r"优化器 \1"),
    (r"initialization", "初始化"),
    (r"other", "其他"),
    (r"all", "合计"),
    (r"The first graph", "第一张图"),
    (r"Two tasks on one shared layer", "两个任务共用一层"),
    (r"Alternate training: an optimizer for each task", "交替训练：每个任务一个优化器"),
    (
        r"Joint training: one optimizer on the sum of the losses",
        "联合训练：一个优化器最小化损失之和",
    ),
    (r"The whole graph", "整张图"),
)


def in_language(words: str, language: str) -> str:
    """Returns a phrase in "en" or "zh". A phrase without translation is returned unchanged."""
    if language == "zh":
        for pattern, translation in PHRASES:
            if re.fullmatch(pattern, words):
                return re.sub(pattern, translation, words)
    return words
