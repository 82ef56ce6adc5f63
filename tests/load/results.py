"""Output of the benchmarks: rows of a Markdown table."""


def print_row(name: str, result: str, target: str) -> None:
    print(f"| {name} | {target} | {result} |", flush=True)
