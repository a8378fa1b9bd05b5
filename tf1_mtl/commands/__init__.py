"""The commands of `tf1-mtl`: one file each, with `add_to(subparsers)` and `run(args) -> int`."""
