"""The page's words, English and Chinese side by side, so that neither can be forgotten.

What stands under the name of a claim is measured when the page is written; see `claims`. All other
texts only lead from one to the next.
"""

from typing import Dict, Tuple

LANGUAGES = {"en": "en", "zh": "zh-Hans"}

TEXTS: Dict[str, Tuple[str, str]] = {
    "title": (
        "Multi-task learning in graph mode",
        "图模式下的多任务学习",
    ),
    "lead": (
        "In 2016 an article, “Multi-Task Learning in Tensorflow: Part 1”, showed how two tasks "
        "share a layer. This page runs its code again, shows what each run really did, and puts "
        "right what the article got wrong.",
        "2016 年的文章《Multi-Task Learning in Tensorflow: Part 1》（TensorFlow 多任务学习）演示了"
        "两个任务如何共用一层网络。本页重新运行它的代码，展示每一次运行究竟做了什么，并更正文章中的错误。",
    ),
    "how_to_read": (
        "A sentence with a green bar is a measurement: it was checked when this page was written, "
        "and what was measured stands below it. A sentence that did not hold would have stopped "
        "the page from being written.",
        "左侧有绿条的句子是实测结论：生成本页时逐条检验，测得的结果就写在句子下面。"
        "只要有一句不成立，本页就不会生成。",
    ),
    "made_with": (
        "Written with TensorFlow {tensorflow}, NumPy {numpy} and Python {python} on {device}. "
        "To write it again: ",
        "生成环境：TensorFlow {tensorflow}、NumPy {numpy}、Python {python}，设备 {device}。"
        "重新生成的命令：",
    ),
    "contents": ("Contents", "目录"),
    "code": ("Code", "代码"),
    "enlarge": ("(Tap the picture to enlarge it.)", "（点按图片可放大。）"),
    "output": ("Its output, just now", "刚才的输出"),
    # 1
    "first": ("A first graph", "第一张图"),
    "first_text": (
        "A graph is a plan. Placeholders stand for data to come, variables for values that last "
        "from one run to the next, the other nodes for operations. A session carries the plan "
        "out: we name what we want to fetch and feed the data. The article begins small, with one "
        "matrix product and a squared error.",
        "图是一份计划。占位符（placeholder）代表将要喂入的数据，变量（variable）代表在多次运行之间保留"
        "的值，其余节点代表运算。会话（session）负责执行这份计划：我们说明要取回（fetch）什么，并喂入"
        "（feed）数据。文章从小处开始：一次矩阵乘法和一个平方误差。",
    ),
    "first_figure": (
        "The first graph, and one run of it that fetches Loss.",
        "第一张图，以及取回 Loss 的一次运行。",
    ),
    "building_computes_nothing": (
        "Building the graph computes nothing. Loss is a tensor with a name and a shape; asking it "
        "for numbers is an error.",
        "构建图时什么也没有计算。Loss 是一个有名字、有形状的张量，直接向它要数值会报错。",
    ),
    "zero_weights_give_squares": (
        "W starts as zeros, so each row’s loss is the square of its Y.",
        "W 的初值全为零，所以每一行的损失就是这一行 Y 的平方。",
    ),
    # 2
    "shared": ("Two tasks on one shared layer", "两个任务共用一层"),
    "shared_text": (
        "Both tasks take the same input through the same first layer; each then has a layer and a "
        "loss of its own. Here the whole program is built at once, with all three optimizers, as "
        "in the article’s listing for joint training.",
        "两个任务把同一个输入送进同一个第一层，之后各有自己的一层和自己的损失。这里一次建好整个程序，"
        "包含全部三个优化器，与文章中联合训练的代码相同。",
    ),
    "shared_figure": (
        "From the input to the two losses, drawn from the graph that TensorFlow holds.",
        "从输入到两个损失，按 TensorFlow 中真实的图绘制。",
    ),
    "the_graph_has_216_nodes": (
        "The program is 216 nodes with 23 variables. Three variables are weights; the other 20 "
        "belong to the optimizers.",
        "整个程序有 216 个节点、23 个变量。其中 3 个变量是权重，其余 20 个属于优化器。",
    ),
    "variables_have_no_value_before_init": (
        "A variable has no value until its initializer has run.",
        "在初始化操作运行之前，变量没有值。",
    ),
    "heads_are_not_shared": (
        "share_Y1 and share_Y2 are not shared, in spite of their names. Each loss reads share_W "
        "and the weights of its own task.",
        "share_Y1 和 share_Y2 虽然名字里有 share，却并不共享。"
        "每个损失只读取 share_W 和本任务自己的权重。",
    ),
    "l2_loss_is_half_the_sum": (
        "l2_loss is half the sum of the squares, not their mean. So the article’s losses are in "
        "the millions.",
        "l2_loss 是平方和的一半，而不是平均值。所以文章里的损失高达数百万。",
    ),
    # 3
    "alternate": ("Alternate training", "交替训练"),
    "alternate_text": (
        "Each step tosses a coin for the task, and one run trains it. The run fetches two things: "
        "the op that updates the weights, and the loss.",
        "每一步抛一次硬币决定训练哪个任务，然后用一次运行来训练它。这次运行取回两样东西："
        "更新权重的操作，以及损失。",
    ),
    "alternate_figure": (
        "One step of task 1. What ran is in colour; what did not is grey and dotted.",
        "任务 1 的一步。运行了的部分着色，没有运行的部分为灰色虚线。",
    ),
    "alternate_table": (
        "The nodes of that run, group by group.",
        "这次运行涉及的节点，按部分统计。",
    ),
    "one_task_runs_without_the_other": (
        "A run executes what its fetches need, and nothing else. No node of task 2 ran, and Y2 "
        "need not be fed.",
        "一次运行只执行取回结果所需要的节点。任务 2 的节点一个也没有运行，Y2 也无须喂入。",
    ),
    "the_other_head_keeps_its_bits": (
        "After a step of task 1 the shared weights have moved, and share_Y2 is the same in every "
        "bit.",
        "任务 1 走完一步，共享权重变了，而 share_Y2 的每一位都和原来一样。",
    ),
    "a_loss_is_from_before_its_step": (
        "The loss fetched together with its op is the loss before the update.",
        "与更新操作一起取回的损失，是更新之前的损失。",
    ),
    "planned_is_measured": (
        "What will run can be read off the graph. The walk backward from the fetches, stopping at "
        "what is fed, finds the very nodes that TensorFlow’s own trace lists.",
        "哪些节点会运行，从图上就能读出来。从要取回的节点往回走，遇到喂入的数据就停下，"
        "找到的正是 TensorFlow 自己的跟踪记录所列出的那些节点。",
    ),
    "grappler_leaves_some_out": (
        "That is the graph as it is written. Left to itself, TensorFlow’s graph optimizer removes "
        "some of these nodes before the run.",
        "以上是照原样运行的图。若不加干预，TensorFlow 的图优化器会在运行之前删去其中一些节点。",
    ),
    # 4
    "joint": ("Joint training", "联合训练"),
    "joint_text": (
        "One optimizer minimizes the sum of both losses, on rows that have both labels. The "
        "article runs one such step.",
        "用一个优化器最小化两个损失之和，数据的每一行都带有两个标签。文章运行了一步。",
    ),
    "joint_figure": (
        "One joint step. The two other optimizers are in the graph, and do not run.",
        "联合训练的一步。另外两个优化器也在图中，但没有运行。",
    ),
    "joint_table": (
        "The nodes of the joint run, group by group.",
        "联合训练这次运行涉及的节点，按部分统计。",
    ),
    "the_joint_loss_is_the_sum": (
        "The joint loss is the sum of the two losses.",
        "联合损失等于两个损失之和。",
    ),
    "a_joint_step_trains_every_weight": (
        "A joint step trains all three weights.",
        "联合训练的一步会更新全部三个权重。",
    ),
    "two_steps_in_one_run_are_not_the_joint_step": (
        "Running Y1_op and Y2_op together is not a joint step: it moves the shared weights by two "
        "steps, Optimiser by one.",
        "把 Y1_op 和 Y2_op 放在一次运行里，并不等于联合训练的一步：前者让共享权重移动两步，"
        "Optimiser 只移动一步。",
    ),
    "each_adam_keeps_its_own": (
        "Each optimizer keeps variables of its own. One step of Y1_op changes these six besides "
        "the weights; the numbers in the names follow the order of creation, so share_W/Adam_2 is "
        "Y1_op’s, although the op Adam_2 is Y2_op.",
        "每个优化器都有自己的变量。Y1_op 的一步除了权重之外还改变下面六个变量；"
        "名字里的编号按创建的先后排列，所以 share_W/Adam_2 属于 Y1_op，"
        "尽管名为 Adam_2 的操作是 Y2_op。",
    ),
    # 5
    "corrections": ("Corrections to the article", "对文章的更正"),
    "corrections_text": (
        "What a reader of the article stumbles over, each with its proof.",
        "读者照着文章做会遇到的问题，逐条附上证据。",
    ),
    "a_step_runs_without_the_other_label": (
        "The article concludes that both labels must be fed, as the other task still runs forward. "
        "It does not run (section 3), and training task 1 takes X and Y1 alone. So two data sets "
        "that have no row in common can be trained in turns.",
        "文章的结论是两个标签都必须喂入，因为另一个任务仍会做前向计算。"
        "实际上它并不运行（见第 3 节），训练任务 1 只需要 X 和 Y1。"
        "因此两个数据集即使没有一行相同，也可以轮流训练。",
    ),
    "a_value_cannot_be_fetched": (
        "The article writes _, Joint_Loss = session.run([Optimiser, Joint_Loss], ...). This "
        "overwrites the tensor with its value, and a second run fails. Give the value a name of "
        "its own.",
        "文章写的是 _, Joint_Loss = session.run([Optimiser, Joint_Loss], ...)。"
        "这会用数值覆盖同名的张量，第二次运行就会失败。应当给数值另起一个名字。",
    ),
    "no_package_is_called_tensorflow_with_a_capital": (
        "The article imports Tensorflow, with a capital T. Python’s import tells capitals apart.",
        "文章写的是 import Tensorflow，首字母大写。Python 的 import 区分大小写。",
    ),
    "the_old_initializer_is_deprecated": (
        "The article calls tf.initialize_all_variables. It still exists, and its own documentation "
        "has called it deprecated since 2017; tf.global_variables_initializer has replaced it.",
        "文章调用 tf.initialize_all_variables。它至今还在，但它自己的文档早已说明 2017 年起弃用，"
        "取而代之的是 tf.global_variables_initializer。",
    ),
    "a_variable_of_sizes_is_two_integers": (
        "The first listing with two tasks in the original blog cannot run. For one thing, "
        "tf.Variable([10, 20]) is not a matrix of 10 by 20: it is a vector of two integers.",
        "原博客中第一段双任务代码无法运行。其一，tf.Variable([10, 20]) 并不是 10×20 的矩阵，"
        "而是由两个整数组成的向量。",
    ),
    "l2_loss_takes_one_tensor": (
        "For another, tf.nn.l2_loss(Y1, Y1_layer) takes its second argument for the name of the "
        "operation. The difference belongs inside: tf.nn.l2_loss(Y1 - Y1_layer).",
        "其二，tf.nn.l2_loss(Y1, Y1_layer) 会把第二个参数当作操作的名字。应当先相减："
        "tf.nn.l2_loss(Y1 - Y1_layer)。",
    ),
    # 6
    "choose": ("Which to choose?", "选哪一种？"),
    "choose_text": (
        "The article ends with this question. Measure it on your own data: each task alone, "
        "alternately and jointly, from the same start, on equally many examples, with intervals, "
        "and with a plain statement of what the figures support and what they do not.",
        "文章以这个问题结尾。不妨在自己的数据上实测：各任务单独训练、交替训练、联合训练，起点相同、"
        "所见样本数相同，给出区间，并明确说明这些数字能说明什么、不能说明什么。",
    ),
    # tables
    "group": ("group", "部分"),
    "planned": ("planned", "计划"),
    "measured": ("measured", "实测"),
    "in_graph": ("in the graph", "图中共有"),
    "all": ("all", "合计"),
}

#: What figures and tables say in English, as patterns, and how to say it in Chinese. A name in
#: them stays as it is.
PHRASES: Tuple[Tuple[str, str], ...] = (
    (r"^placeholders$", "占位符"),
    (r"^placeholder (\[.*\])$", r"占位符 \1"),
    (r"^variable (\[.*\])$", r"变量 \1"),
    (r"^trained by (.*)$", r"训练者：\1"),
    (r"^trains (.*)$", r"训练 \1"),
    (r"^own variables: (\d+)$", r"自有变量：\1 个"),
    (r"^Adam on (.*)$", r"对 \1 的 Adam"),
    (r"^scalar$", "标量"),
    (r"^must be fed$", "必须喂入"),
    (r"^need not be fed$", "无须喂入"),
    (r"^CHANGED by this run$", "本次运行改变了它"),
    (r"^WRITTEN by this run$", "被本次运行写入"),
    (r"^WRITTEN, same value$", "被写入，值未变"),
    (r"^read, not changed$", "被读取，未改变"),
    (r"^not touched$", "未触及"),
    (r"^does not run$", "不运行"),
    (r"^not run: (.*)$", r"未运行：\1"),
    (
        r"^solid arrow: a value; dashed arrow: the loss that an optimizer minimizes$",
        "实线箭头：数值；虚线箭头：优化器所最小化的损失",
    ),
    (
        r"^filled: runs; grey and dotted: does not run; thick border: written by this run$",
        "着色：运行；灰色虚线：不运行；粗边框：被本次运行写入",
    ),
    (
        r"^filled: runs; grey and dotted: does not run; thick border:$",
        "着色：运行；灰色虚线：不运行；",
    ),
    (r"^written by this run$", "粗边框：被本次运行写入"),
    (r"^shared layer$", "共享层"),
    (r"^model$", "模型"),
    (r"^task (\d+) \((.*)\)$", r"任务 \1（\2）"),
    (r"^losses$", "损失"),
    (r"^gradients of (.*)$", r"\1 的梯度"),
    (r"^optimizer (.*)$", r"优化器 \1"),
    (r"^initialization$", "初始化"),
    (r"^other$", "其他"),
)
