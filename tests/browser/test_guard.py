"""Guards of the browser tests: only loopback can be reached, policy violations are detected."""

import time

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.browser.conftest import is_policy_complaint


@pytest.mark.parametrize("address", ["https://example.com/", "http://10.0.0.1/", "http://[2001:db8::1]/"])
def test_no_address_outside_loopback_is_reachable(page: Page, address: str, transactional_db: None) -> None:
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        page.goto(address)


def test_a_content_security_policy_violation_is_detected(
    browser: Browser, live_server: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Uses its own context, because the ``context`` fixture fails a test with a violation."""
    context = browser.new_context(base_url=str(live_server))
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(is_policy_complaint(message.text)))
    page.goto("/login/")

    page.evaluate("() => { const it = document.createElement('script'); it.text = 'let x'; document.body.append(it) }")

    until = time.monotonic() + 60
    while not (reports := [one for one in caplog.records if one.name == "config.web.csp_reports"]):
        assert time.monotonic() < until
        page.wait_for_timeout(50)
    assert reports[0].getMessage().endswith("script-src-elem on /login/, blocked inline")
    assert complaints == [True]
    context.close()
