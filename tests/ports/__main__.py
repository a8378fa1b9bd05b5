"""`python -m tests.ports`: checks every port and prints the README's table of verdicts.

Ends with 1 when a verdict is not the one that is stated in `tests.ports.PORTS`.
"""

import sys

from tf1_mtl.baseline import check

from . import PORTS, load, verdict


def main() -> int:
    wrong = []
    print("| port | as | verdict | the knob |")
    print("|---|---|---|---|")
    for port in PORTS:
        report = check(load(port))
        print(f"| {port.framework} | {port.kind} | {verdict(report)} | {port.knob} |", flush=True)
        if report.ids != port.diagnosis or report.broke:
            wrong.append(f"{port.framework}, {port.kind}:\n{report}")
    print("\n\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
