"""Speed and memory, each against a baseline named and measured in the same run: `python -m benchmarks`, `make bench`.

A benchmark is a module with `bench(runs, quick) -> list[Row]`, named in `__main__.NAMES`. It runs in a process of its
own, on made-up data in a temporary folder, and quickly enough under `--quick` to see that it still works.
"""
