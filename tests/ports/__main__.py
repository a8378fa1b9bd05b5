"""`python -m tests.ports`: checks every port and prints the table of docs/checking.md.

Ends with 1 when a verdict is not the one that is stated in `tests.ports.PORTS`.
"""

import sys

from . import PORTS, checked, row


def main() -> int:
    wrong = []
    print("| port | as | verdict | the knob |")
    print("|---|---|---|---|")
    for port in PORTS:
        report = checked(port)
        print(row(port, report), flush=True)
        if report.passed != (port.kind == "conformant") or report.ids != port.diagnosis:
            wrong.append(f"{port.framework}, {port.kind}:\n{report}")
    print("\n\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
