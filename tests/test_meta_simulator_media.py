"""Meta simulator: uploads, downloads in two steps from another host, faults."""

import base64
import hashlib
from typing import Any

import pytest
import requests

from tests.receiver import Receiver
from tests.simulators.calling import ANNA, code, get, send, values
from tests.simulators.meta import MetaSimulator
from tests.simulators.phones import Phone


def fetch(meta: MetaSimulator, media_id: str, **more: Any) -> Any:
    url = get(meta, media_id).json()["url"]
    headers = {"Authorization": f"Bearer {meta.access_token}"}
    return requests.get(url, headers=headers, timeout=5, allow_redirects=False, **more)


def test_a_file_is_downloaded_in_two_steps_from_another_host(meta: MetaSimulator, receiver: Receiver) -> None:
    data = bytes(range(256)) * 10
    meta.phone(ANNA).sends_file("document", data, "application/pdf", filename="счёт.pdf", caption="Вот")
    meta.quiet()
    document = values(receiver, "messages")[0]["document"]

    location = get(meta, document["id"]).json()
    answer = fetch(meta, document["id"])

    assert (document["filename"], document["caption"]) == ("счёт.pdf", "Вот")
    assert answer.content == data
    assert answer.headers["content-type"] == location["mime_type"] == "application/pdf"
    assert location["file_size"] == 2560
    assert location["sha256"] == hashlib.sha256(data).hexdigest()
    assert base64.b64decode(document["sha256"]).hex() == location["sha256"]
    assert location["url"].startswith(meta.media_url)
    assert meta.media_url != meta.url


def test_files_can_be_served_by_the_api_host() -> None:
    with MetaSimulator(own_media_host=False) as meta:
        medium = meta.media.keep(b"picture", mime="image/png", now=meta.now())

        assert get(meta, medium.id).json()["url"].startswith(meta.url)
        assert fetch(meta, medium.id).content == b"picture"


def test_a_file_url_expires_after_five_minutes_and_needs_the_token(meta: MetaSimulator) -> None:
    medium = meta.media.keep(b"x", mime="image/png", now=meta.now())
    url = get(meta, medium.id).json()["url"]
    headers = {"Authorization": f"Bearer {meta.access_token}"}

    assert requests.get(url, timeout=5).status_code == 401
    assert requests.get(url, timeout=5, headers=headers).content == b"x"
    meta.later(seconds=301)
    assert requests.get(url, timeout=5, headers=headers).status_code == 404
    assert fetch(meta, medium.id).content == b"x"
    meta.later(hours=24 * 31)
    assert code(get(meta, medium.id)) == 100


@pytest.mark.parametrize("how", ["gone", "wrong_bytes", "short", "html", "500", "redirect"])
def test_a_faulty_download_succeeds_the_next_time(meta: MetaSimulator, how: str) -> None:
    medium = meta.media.keep(b"picture", mime="image/png", now=meta.now())
    meta.behave(media=how, times=1)

    if how == "short":
        with pytest.raises(requests.RequestException):
            fetch(meta, medium.id)
    else:
        wrong = fetch(meta, medium.id)
        assert (wrong.status_code, wrong.content) != (200, b"picture")
        assert wrong.headers.get("location", "").startswith("http://localhost") == (how == "redirect")

    assert fetch(meta, medium.id).content == b"picture"


def test_a_file_url_can_point_to_a_foreign_host(meta: MetaSimulator) -> None:
    medium = meta.media.keep(b"picture", mime="image/png", now=meta.now())
    meta.behave(media="stranger", times=1)

    first, second = (get(meta, medium.id).json()["url"] for _ in range(2))

    assert first.startswith(meta.server.foreign_url)
    assert second.startswith(meta.media_url)


def upload(meta: MetaSimulator, data: bytes, mime: str, *, product: str = "whatsapp") -> Any:
    return requests.post(
        f"{meta.url}/v25.0/{meta.phone_number_id}/media",
        headers={"Authorization": f"Bearer {meta.access_token}"},
        data={"messaging_product": product, "type": mime},
        files={"file": ("счёт.bin", data, mime)},
        timeout=5,
    )


def test_an_uploaded_file_is_sent_by_its_id(meta: MetaSimulator, anna: Phone) -> None:
    data = b"\r\n--\r\nPNG\r\n"

    media_id = upload(meta, data, "image/png").json()["id"]
    answer = send(meta, type="image", image={"id": media_id, "caption": "Вот"})

    assert meta.media.media[media_id].data == data
    assert answer.status_code == 200
    assert anna.received[0].text == "Вот"


def test_a_file_that_meta_does_not_accept_is_rejected(meta: MetaSimulator, receiver: Receiver, anna: Phone) -> None:
    assert code(upload(meta, b"x", "image/gif")) == 100
    assert code(upload(meta, b"x", "image/png", product="")) == 100
    assert code(upload(meta, b"x" * 5_000_001, "image/png")) == 131053
    pdf = upload(meta, b"%PDF", "application/pdf").json()["id"]

    send(meta, type="image", image={"id": pdf})
    send(meta, type="image", image={"id": "123"})
    meta.quiet()

    assert [status["errors"][0]["code"] for status in values(receiver, "statuses")] == [131053, 131053]


def test_a_link_on_loopback_is_downloaded_and_its_type_checked(
    meta: MetaSimulator, receiver: Receiver, anna: Phone
) -> None:
    receiver.answer("/a.jpg", body=b"jpeg", headers={"Content-Type": "image/jpeg"})
    receiver.answer("/b.jpg", status=404)

    for name in ("/a.jpg", "/b.jpg", "/page"):
        send(meta, type="image", image={"link": receiver.url(name)})

    assert [sent.statuses[-1] for sent in meta.sent] == ["delivered", "failed", "failed"]
