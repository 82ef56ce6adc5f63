"""The processes of the portal: servers from wheels, the supervisor, the commands beside and alone."""

import pytest
from django.db import connection


@pytest.mark.django_db
def test_the_suite_runs_on_a_real_postgresql_18() -> None:
    with connection.cursor() as cursor:
        cursor.execute("show server_version_num")
        (version,) = cursor.fetchone()

    assert int(version) >= 180000
