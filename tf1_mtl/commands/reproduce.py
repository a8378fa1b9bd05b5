"""`tf1-mtl reproduce`: runs the sessions of the article and tests its published figures."""

import argparse
import json
import sys
from typing import Any, List

from tf1_mtl.commands import options
from tf1_mtl.published import PUBLISHED_ALTERNATE, PUBLISHED_JOINT, require_enough
from tf1_mtl.quiet import quiet


def add_to(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "reproduce",
        help="run the article as published and test its figures against many seeds",
        description="Runs the alternate and the joint session as published, then tests the "
        "published figures against the same figures of many seeds. The exit status is 1 if a "
        "published figure is not one that this graph gives.",
    )
    options.add_count(parser, "--seeds", "number of seeds (default: %(default)s)", default=1000)
    options.add_seed(parser, "seed of the run that is shown (default: random)")
    options.add_session_options(parser)
    options.add_flags(parser, "--json", "--quiet")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Runs the sessions and prints the comparison. Returns 1 if a figure does not agree."""
    require_enough("--seeds", args.seeds)
    seed = options.fresh_seed() if args.seed is None else args.seed
    with quiet(args.verbose):
        import tensorflow.compat.v1 as tf

        from tf1_mtl import build_graph, open_session, replication

        net = build_graph(variables=args.variables)
        session = open_session(net, args.device)
    if not args.quiet:
        print(f"seed {seed}, {session.device}, TensorFlow {tf.__version__}", file=sys.stderr)
    with session:
        (shown,) = replication.run_seeds(net, session, [seed])
        simulated = replication.run_seeds(net, session, range(args.seeds))
        runs = options.progress(simulated, args.seeds, "seeds", not args.quiet)
        judgements = replication.judge_article(runs)
    agrees = all(judgement.agrees for judgement in judgements)
    if args.json:
        tests = [{**test._asdict(), "agrees": test.agrees} for test in judgements]
        result = {
            "seed": seed,
            "seeds": args.seeds,
            "alternate": shown.alternate,
            "joint": shown.joint,
            "published": {"alternate": PUBLISHED_ALTERNATE, "joint": PUBLISHED_JOINT},
            "tests": dict(zip(("alternate", "joint"), tests)),
            "agrees": agrees,
            "false_fail": sum(judgement.false_fail for judgement in judgements),
            "device": session.device,
            "tensorflow": tf.__version__,
            "variables": args.variables,
        }
        print(json.dumps(result))
    else:
        print("\n".join(_report(shown, args.seeds, judgements)))
    return 0 if agrees else 1


def _report(shown: Any, seeds: int, judgements: Any) -> List[str]:
    from tf1_mtl.replication import POWER

    lines = [f"{'loss':24}{'published':>12}{'this run':>12}"]
    for step, (published, here) in enumerate(zip(PUBLISHED_ALTERNATE, shown.alternate)):
        lines.append(f"{f'alternate, step {step}':24}{published:12.5e}{here:12.5e}")
    lines.append(f"{'joint, step 0':24}{PUBLISHED_JOINT:12.5e}{shown.joint:12.5e}")

    kept = 1 - judgements[0].false_fail
    lines += ["", f"{'the published figure':24}{'':12}{f'middle {kept:.1%} of {seeds} seeds':>26}"]
    for name, judgement in zip(("alternate, mean of 10", "joint"), judgements):
        span = f"{judgement.low:.4g} to {judgement.high:.4g}"
        verdict = "inside" if judgement.agrees else "OUTSIDE"
        lines.append(
            f"{name:24}{judgement.published:12.5e}{span:>26}  {verdict}, "
            f"at quantile {judgement.quantile:.2f}"
        )

    false_fail = sum(judgement.false_fail for judgement in judgements)
    too_large = min(judgement.too_large for judgement in judgements)
    too_small = max(judgement.too_small for judgement in judgements)
    if all(judgement.agrees for judgement in judgements):
        verdict = "REPRODUCED: the published figures are such as this graph gives."
    else:
        verdict = "NOT REPRODUCED: this graph does not give the published figures."
    lines += [
        "",
        verdict,
        f"A right graph fails this test with probability {false_fail:.1%} at most. It finds losses",
        f"{too_large:.2f} times too large, or {too_small:.2f} times what they should be, "
        f"with probability {POWER:.0%}.",
    ]
    return lines
