"""What the browser of the tests may reach."""

import pytest
from playwright.sync_api import Error, Page


@pytest.mark.parametrize("address", ["https://example.com/", "http://10.0.0.1/", "http://[2001:db8::1]/"])
def test_nobody_beyond_loopback_has_an_address(page: Page, address: str, transactional_db: None) -> None:
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        page.goto(address)
