"""Explaining statements in tests, to find those that read many rows of a large table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection

EXPLAINED = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "EXECUTE")
LARGE_TABLES = ("contact", "conversation", "ticket", "servicewindow", "message", "delivery", "webhookevent")


class Statements:
    """Explains each statement in a savepoint before it runs, and collects those that read too much."""

    def __init__(self, *, max_rows: int, max_pages: int) -> None:
        self.max_rows = max_rows  # of one table, by one scan
        self.max_pages = max_pages  # by one statement
        self.problems: list[str] = []
        self.tables: set[str] = set()  # those that a statement read or changed

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.split(maxsplit=1)[0].upper() in EXPLAINED and "advisory_lock" not in sql:
            self.explain(sql, params)
        return execute(sql, params, many, context)

    def explain(self, sql: str, params: Any) -> None:
        assert connection.connection is not None
        with connection.connection.cursor() as cursor:
            cursor.execute("SAVEPOINT explained")
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
            [found] = cursor.fetchone()[0]
            cursor.execute("ROLLBACK TO explained")
        plan = found["Plan"]
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        problems = [problem for node in walk(plan) if (problem := self.judge(node))]
        if plan["Node Type"] != "ModifyTable" and pages > self.max_pages:
            problems.append(f"{pages} pages")
        if problems:
            self.problems.append(f"{problems}\n{sql[:1500]}")

    def judge(self, node: dict[str, Any]) -> str:
        table = node.get("Relation Name", "").removeprefix("bridge_")
        if table in LARGE_TABLES:
            self.tables.add(table)
            if node["Node Type"] == "Seq Scan":
                return f"Seq Scan on {table}"
        elif "Index Name" not in node:
            return ""
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        rows = (node["Actual Rows"] + removed) * node["Actual Loops"]
        scan = f"{node['Node Type']} {node.get('Index Name', '')}"
        return f"{scan} of {rows:.0f} rows in {table}" if rows > self.max_rows else ""


def walk(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from walk(part)


def analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def forget_statistics() -> None:
    """Forget the sizes and contents of the tables that an ANALYZE has noted: one of another test, or of autovacuum."""
    tables = [f"bridge_{table}" for table in LARGE_TABLES]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
        cursor.execute("SET LOCAL allow_system_table_mods = on")
        cursor.execute("DELETE FROM pg_statistic WHERE starelid = ANY(%s::regclass[])", [tables])
        cursor.execute("SET LOCAL allow_system_table_mods = off")
