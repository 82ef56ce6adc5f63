"""The simulator of Meta: files in two steps, from a host of their own, and wrong when told to."""

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


def test_a_file_is_fetched_in_two_steps_from_a_host_of_its_own(meta: MetaSimulator, receiver: Receiver) -> None:
    data = bytes(range(256)) * 10
    meta.phone(ANNA).sends_file("document", data, "application/pdf", filename="счёт.pdf", caption="Вот")
    meta.quiet()
    told = values(receiver, "messages")[0]["document"]

    about = get(meta, told["id"]).json()
    answer = fetch(meta, told["id"])

    assert (told["filename"], told["caption"]) == ("счёт.pdf", "Вот")
    assert answer.content == data
    assert answer.headers["content-type"] == about["mime_type"] == "application/pdf"
    assert about["file_size"] == 2560
    assert about["sha256"] == hashlib.sha256(data).hexdigest()
    assert base64.b64decode(told["sha256"]).hex() == about["sha256"]
    assert about["url"].startswith(meta.media_url)
    assert meta.media_url != meta.url


def test_files_may_lie_under_the_apis_own_address() -> None:
    with MetaSimulator(own_media_host=False) as meta:
        medium = meta.media.keep(b"picture", mime="image/png", now=meta.now())

        assert get(meta, medium.id).json()["url"].startswith(meta.url)
        assert fetch(meta, medium.id).content == b"picture"


def test_an_address_lives_five_minutes_and_wants_the_token(meta: MetaSimulator) -> None:
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
def test_a_file_may_come_wrong_and_right_the_next_time(meta: MetaSimulator, how: str) -> None:
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


def test_an_address_may_be_on_a_strangers_host(meta: MetaSimulator) -> None:
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


def test_a_file_is_handed_in_and_sent_by_its_id(meta: MetaSimulator, anna: Phone) -> None:
    data = b"\r\n--\r\nPNG\r\n"

    media_id = upload(meta, data, "image/png").json()["id"]
    answer = send(meta, type="image", image={"id": media_id, "caption": "Вот"})

    assert meta.media.media[media_id].data == data
    assert answer.status_code == 200
    assert anna.received[0].text == "Вот"


def test_a_file_that_meta_does_not_take_is_refused(meta: MetaSimulator, receiver: Receiver, anna: Phone) -> None:
    assert code(upload(meta, b"x", "image/gif")) == 100
    assert code(upload(meta, b"x", "image/png", product="")) == 100
    assert code(upload(meta, b"x" * 5_000_001, "image/png")) == 131053
    pdf = upload(meta, b"%PDF", "application/pdf").json()["id"]

    send(meta, type="image", image={"id": pdf})
    send(meta, type="image", image={"id": "123"})
    meta.quiet()

    assert [status["errors"][0]["code"] for status in values(receiver, "statuses")] == [131053, 131053]


def test_a_link_on_loopback_is_fetched_and_its_type_looked_at(
    meta: MetaSimulator, receiver: Receiver, anna: Phone
) -> None:
    receiver.answer("/a.jpg", body=b"jpeg", headers={"Content-Type": "image/jpeg"})
    receiver.answer("/b.jpg", status=404)

    for name in ("/a.jpg", "/b.jpg", "/page"):
        send(meta, type="image", image={"link": receiver.url(name)})

    assert [sent.statuses[-1] for sent in meta.sent] == ["delivered", "failed", "failed"]
