"""Every table and every folder of the data folder has a rule for how long its content is kept, or a reason."""

import re
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection

from bridge.maintenance import backup_status, storage_usage, table_rules
from bridge.management.commands import retention_page
from tests.backups import find_unlisted

ROOT = Path(__file__).parent.parent
IN_DATA_FOLDER = re.compile(r'(?:data_dir|DATA_DIR)\)? / "([^."][^"]*)"')
RULES = (table_rules.PRUNED, table_rules.CLEANED, table_rules.KEPT)


def stored_models() -> set[str]:
    """Return the models with a table of their own. Rows of many-to-many tables go with the rows that they join."""
    return {model._meta.label for model in apps.get_models() if model._meta.managed and not model._meta.proxy}


def test_every_table_says_how_long_its_rows_are_kept() -> None:
    named = [name for rules in RULES for name in rules]

    assert set(named) - stored_models() == set()
    assert stored_models() - set(named) == set(), "add the table to bridge/maintenance/table_rules.py"
    assert len(named) == len(set(named))
    assert all(reason for rules in (table_rules.CLEANED, table_rules.KEPT) for reason in rules.values())


def test_pruned_tables_are_those_of_their_models() -> None:
    for label, rule in table_rules.PRUNED.items():
        model = apps.get_model(label)
        assert model._meta.db_table == rule.table
        assert rule.age in {field.column for field in model._meta.concrete_fields}


@pytest.mark.django_db
def test_the_indexes_of_pruned_tables_begin_with_the_age() -> None:
    with connection.cursor() as cursor:
        for rule in table_rules.PRUNED.values():
            indexes = connection.introspection.get_constraints(cursor, rule.table)
            first_columns = {index["columns"][0] for index in indexes.values() if index["index"] and index["columns"]}
            assert not rule.index or rule.age in first_columns, rule.table


def test_every_measured_table_exists() -> None:
    tables = {model._meta.db_table for model in apps.get_models()}

    assert {table for group in storage_usage.GROUPS.values() for table in group} <= tables
    assert set(storage_usage.LABELS) == {*storage_usage.GROUPS, storage_usage.OTHER, storage_usage.FILES}


def test_every_folder_of_the_data_folder_has_a_rule() -> None:
    """tests/test_backup_drill.py looks into a data folder that was used."""
    packages = (ROOT / name for name in ("bridge", "channels_setup", "config", "templates_registry"))
    sources = [path.read_text() for package in packages for path in package.rglob("*.py")]
    used = {name for source in sources for name in IN_DATA_FOLDER.findall(source)}

    assert used > {"media", "logs", "postgres", "backups", "erasures.jsonl", "stack.json"}
    assert find_unlisted([*used, "valkey", backup_status.FILE_NAME]) == []


def test_the_page_has_the_rules_of_the_code() -> None:
    text = retention_page.PAGE_PATH.read_text()

    assert text == retention_page.render_page(text), "run: manage.py retention_page"
