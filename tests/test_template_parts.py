"""Every component of a template in every step: parsing, form, validation, sending, submission, round trips."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from bridge.models import Conversation, Message
from bridge.relay import reply_submission
from channels_setup.models import ApiChannel
from channels_setup.providers.whatsapp_cloud import graph_templates
from templates_registry import index_cache, lifecycle
from templates_registry.content import graph_format
from templates_registry.content.components import TemplateDefinition
from templates_registry.content.rendering import build_provider_components, render
from templates_registry.content.sendability import find_missing_parts
from templates_registry.lifecycle import ChangeAuthor, Source
from templates_registry.matching.result import MatchOutcome
from templates_registry.matching.text_diff import content_key
from templates_registry.models import Template
from templates_registry.transfer import file_formats, import_plan
from tests.api_client import Api
from tests.factories import ApiChannelFactory, ConversationFactory, boris, vera
from tests.pages import page_html, signed_in
from tests.scenarios.shape_templates import NOW, list_at_meta, refusal_code, store_template
from tests.simulators import template_sends
from tests.simulators import templates as theirs
from tests.template_shapes import SHAPES, UNFILLABLE

every_shape = pytest.mark.parametrize("name", SHAPES)


def definition_of(name: str) -> TemplateDefinition:
    return graph_format.parse_template(SHAPES[name].row(name.replace(" ", "_").replace("-", "_")))


@every_shape
def test_every_required_value_is_a_variable(name: str) -> None:
    shape, definition = SHAPES[name], definition_of(name)

    assert find_missing_parts(definition) == []
    assert {v.key for v in definition.variables if v.is_required} == set(shape.values)
    accepted = {v.key for v in (*definition.variables, *definition.defaulted_variables) if not v.is_required}
    assert set(shape.optional) <= accepted
    assert definition.body.strip()


@every_shape
def test_meta_accepts_the_parameters_that_are_sent(name: str) -> None:
    shape, definition = SHAPES[name], definition_of(name)

    for values in (shape.values, shape.values | shape.optional):
        assert render(definition, values).ready
        sent = json.loads(json.dumps(build_provider_components(definition, values)))
        assert refusal_code(list_at_meta(shape, name), sent) == 0


@every_shape
def test_a_missing_value_is_reported_and_meta_refuses_it(name: str) -> None:
    shape, definition = SHAPES[name], definition_of(name)

    for key in shape.values:
        values = {each: value for each, value in shape.values.items() if each != key}
        problems = render(definition, values).problems
        assert [(one.field, one.code) for one in problems] == [(f"variables.{key}", "missing")]
        assert str(problems[0].sentence)
        assert refusal_code(list_at_meta(shape, name), build_provider_components(definition, values)) in (
            131008,
            132000,
            132012,
            132018,
        )
    assert refusal_code(list_at_meta(shape, name), []) == shape.refused_without


@pytest.mark.parametrize(
    ("name", "key", "value", "code"),
    [
        (name, key, value, code)
        for name, shape in SHAPES.items()
        for key, cases in shape.wrong.items()
        for value, code in cases
    ],
)
def test_an_invalid_value_is_reported_at_its_field(name: str, key: str, value: str, code: str) -> None:
    shape = SHAPES[name]

    problems = render(definition_of(name), shape.values | {key: value}).problems

    assert [(one.field, one.code) for one in problems] == [(f"variables.{key}", code)]
    assert "%(" not in str(problems[0].sentence)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "Счёт-5.pdf"),
        ({"header.filename": " Счёт.pdf "}, "Счёт.pdf"),
        ({"header.media": "https://shop.example/%D0%A1%D1%87%D1%91%D1%82.pdf?x=1"}, "Счёт.pdf"),
        ({"header.media": "1013859600000001", "header.filename": "Счёт.pdf"}, "Счёт.pdf"),
    ],
)
def test_a_document_is_sent_with_its_file_name(values: dict[str, str], name: str) -> None:
    shape, definition = SHAPES["document"], definition_of("document")

    sent = build_provider_components(definition, shape.values | values)

    assert sent[0]["parameters"][0]["document"]["filename"] == name
    assert f"[DOCUMENT {name}]" in template_sends.fill(list_at_meta(shape, "document"), sent, now=NOW)


@pytest.mark.parametrize("media", ["1013859600000001", "https://shop.example/", "https://shop.example"])
def test_a_document_without_a_name_in_its_link_requires_one(media: str) -> None:
    problems = render(definition_of("document"), {"1": "42", "header.media": media}).problems

    assert [(one.field, one.code) for one in problems] == [("variables.header.filename", "filename_missing")]


def test_a_code_is_the_same_in_the_text_and_in_its_button() -> None:
    for name in ("otp copy code", "otp one tap", "otp zero tap", "otp as listed"):
        body, button = build_provider_components(definition_of(name), ["482913"])

        assert body == {"type": "body", "parameters": [{"type": "text", "text": "482913"}]}
        assert button == {"type": "button", "sub_type": "url", "index": "0", "parameters": body["parameters"]}


@pytest.mark.parametrize(("language", "begin"), [("ru", "Ваш код"), ("en_US", "*{{1}}* is"), ("xx", "*{{1}}* is")])
def test_an_authentication_template_shows_whatsapps_standard_text(language: str, begin: str) -> None:
    definition = graph_format.parse_template(SHAPES["otp copy code"].row("otp") | {"language": language})

    assert definition.body.startswith(begin) and definition.footer
    assert "482913" in render(definition, ["482913"]).text


def test_each_cards_button_has_its_own_payload() -> None:
    shape = SHAPES["media carousel"]

    carousel = build_provider_components(definition_of("media carousel"), shape.values)[-1]

    assert [each["card_index"] for each in carousel["cards"]] == [0, 1]
    kinds = [each.get("sub_type") or each["type"] for each in carousel["cards"][0]["components"]]
    assert kinds == ["header", "body", "quick_reply", "url"]
    assert carousel["cards"][1]["components"][0]["parameters"][0]["image"] == {"id": "1013859600000001"}


def test_sections_are_accepted_in_metas_format() -> None:
    definition = definition_of("multi-product")
    rows = [{"title": "Сапоги", "product_items": [{"product_retailer_id": "SKU-1"}]}]

    [button] = build_provider_components(definition, {"button.0": json.dumps(rows)})

    action = {"thumbnail_product_retailer_id": "SKU-1", "sections": rows}
    assert button["parameters"] == [{"type": "action", "action": action}]


def test_component_names_are_accepted_in_lower_case() -> None:
    row = json.loads(json.dumps(SHAPES["offer"].row("offer")))
    for component in row["components"]:
        component["type"] = component["type"].lower()
        component["format"] = component.get("format", "").lower()
        for button in component.get("buttons", ()):
            button["type"] = button["type"].lower()

    assert {v.key for v in graph_format.parse_template(row).variables} == set(SHAPES["offer"].values)


# --- round trips -----------------------------------------------------------------------------------------


@every_shape
def test_parsed_template_serializes_to_the_same_json(name: str) -> None:
    row = SHAPES[name].row("t")

    assert graph_format.serialize_template(graph_format.parse_template(row)) == row


some_components = st.sampled_from([shape.components for shape in SHAPES.values()])


@given(st.data())
def test_any_mix_of_components_serializes_to_the_same_json(data: st.DataObject) -> None:
    """Combine one component of each kind of any template, in any order, with unknown fields."""
    pool = [each for shape in SHAPES.values() if not shape.named for each in shape.components]
    kinds = data.draw(st.permutations(sorted({each["type"] for each in pool})))
    chosen = [data.draw(st.sampled_from([each for each in pool if each["type"] == kind])) for kind in kinds]
    more = data.draw(st.dictionaries(st.sampled_from(["id", "label", "x"]), st.integers(), max_size=2))
    row = SHAPES["text"].row("t") | {"category": "MARKETING"}
    row["components"] = [each | more if each["type"] in ("BODY", "HEADER", "FOOTER") else each for each in chosen]

    read = graph_format.parse_template(row)

    assert graph_format.serialize_template(read) == row
    assert graph_format.parse_template(graph_format.serialize_template(read)) == read


@every_shape
def test_meta_accepts_every_submitted_template(name: str) -> None:
    definition = definition_of(name)
    samples = {v.key: f"4::{v.key}" for v in definition.variables if v.kind.value == "media"}

    body = graph_templates.build_submission_body(graph_format.serialize_template(definition), samples=samples)

    theirs.check_new(body)
    carousel = theirs.get_kind(body["components"][-1]) == "CAROUSEL"
    if samples and carousel:
        handles = [theirs.get_handle(each["components"][0]) for each in body["components"][-1]["cards"]]
        assert handles == ["4::card.0.header.media", "4::card.1.header.media"]


@pytest.mark.parametrize("kind", ["COPY_CODE", "ONE_TAP", "ZERO_TAP"])
def test_a_listed_authentication_template_can_be_submitted_again(kind: str) -> None:
    shape = SHAPES[f"otp {kind.lower().replace('_', ' ')}"]
    listed_row = shape.row("otp") | {"components": theirs.convert_to_listed(shape.row("otp"))}

    body = graph_templates.build_submission_body(
        graph_format.serialize_template(graph_format.parse_template(listed_row)), samples={}
    )

    [button] = body["components"][-1]["buttons"]
    assert (button["type"], button["otp_type"]) == ("OTP", kind)
    assert "text" not in body["components"][0]


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["json", "csv", "xlsx"])
def test_every_template_survives_export_and_import(form: str) -> None:
    here, there = ApiChannelFactory(kind="whatsapp_cloud"), ApiChannelFactory(kind="whatsapp_cloud")
    templates = [store_template(here, name) for name in SHAPES]

    rows = file_formats.read_file(file_formats.export_templates(templates, file_format=form))
    plan = import_plan.build_plan(rows, api_channel=there)
    import_plan.apply_plan(plan, by=ChangeAuthor(source=Source.IMPORT))

    assert Template.objects.filter(api_channel=there).count() == len(templates) > 0
    for template in templates:
        copy = Template.objects.get(api_channel=there, name=template.name)
        assert content_key(copy.definition) == content_key(template.definition), template.name
        if form == "json":
            assert copy.components == template.components, template.name
        assert copy.missing_parts == []


# --- every channel of input ------------------------------------------------------------------------------


@pytest.fixture
def channel(db: None) -> ApiChannel:
    return ApiChannelFactory(kind="whatsapp_cloud")


@pytest.fixture
def chat(channel: ApiChannel) -> Conversation:
    return ConversationFactory(api_channel=channel)


@every_shape
def test_the_api_lists_the_variables_and_sends_the_template(chat: Conversation, name: str) -> None:
    api, shape = Api(boris(chat.chat_channel)), SHAPES[name]
    template = store_template(chat.api_channel, name)

    row = api.get(f"templates/{template.pk}").json()
    assert (row["sendable"], row["missing"]) == (True, [])
    assert {one["key"] for one in row["variables"] if one["required"]} == set(shape.values)
    assert all(one["title"] and one["kind"] for one in row["variables"])

    shown = api.post(f"templates/{template.pk}/preview", {"parameters": shape.values}).json()
    assert shown["ready"] and shown["body"] and not shown["problems"]
    assert len(shown["cards"]) == sum(
        key.endswith(("header.media", "header.product")) for key in shape.values if "card" in key
    )
    if shape.values:
        missing = api.post(f"templates/{template.pk}/preview", {"parameters": {}}).json()
        assert {one["field"] for one in missing["problems"]} == {f"variables.{key}" for key in shape.values}

    messages = f"conversations/{chat.pk}/messages"
    sent = api.post(messages, {"template": {"id": template.pk, "parameters": shape.values}})
    assert sent.status_code == 201, sent.content
    message = Message.objects.get(direction="outbound")
    assert message.text and message.template
    assert refusal_code(list_at_meta(shape, name), message.template["components"]) == 0


@every_shape
def test_the_desk_shows_every_field_and_sends_the_template(chat: Conversation, client: Client, name: str) -> None:
    desk, shape = signed_in(client, boris(chat.chat_channel)), SHAPES[name]
    template = store_template(chat.api_channel, name)
    script, page = {"HX-Request": "true"}, f"/chats/{chat.pk}/templates/{template.pk}/"

    panel = desk.post(page, {"open": "picked"}, headers=script).content.decode()
    for key in shape.values:
        assert f'name="v.{key}"' in panel
    assert ("disabled" in panel) == bool(shape.values)

    fields = {f"v.{key}": value for key, value in shape.values.items()}
    filled = desk.post(page, fields, headers=script)
    assert filled.status_code == 200 and "disabled" not in filled.content.decode()
    desk.post(f"{page}send/", fields | {"key": "k"}, headers=script)
    message = Message.objects.get(direction="outbound")
    assert message.template and refusal_code(list_at_meta(shape, name), message.template["components"]) == 0


@every_shape
def test_a_paste_is_sent_if_it_contains_every_value(chat: Conversation, name: str) -> None:
    shape, template = SHAPES[name], store_template(chat.api_channel, name)
    text = render(template.definition, shape.values).text

    found = index_cache.recognize_template(chat.api_channel, text)
    submitted = reply_submission.submit_reply(conversation_id=chat.pk, text=text, author=None)

    complete = shape.pastable or name == "header text"
    assert (found.outcome is MatchOutcome.TEMPLATE) == complete, found.sentence
    assert bool(submitted.message) == complete
    if submitted.message and submitted.message.template:
        assert refusal_code(list_at_meta(shape, name), submitted.message.template["components"]) == 0
    else:
        assert (submitted.decision.reason, found.code) == ("template_not_ready", "not_carried")


@every_shape
def test_the_admin_form_keeps_every_part(channel: ApiChannel, client: Client, name: str) -> None:
    template = store_template(channel, name)
    admin, url = signed_in(client, vera()), reverse("admin:templates_registry_template_change", args=[template.pk])

    page = admin.get(url)
    form = page.context["adminform"].form
    posted: dict[str, Any] = {row: form[row].value() for row in form.fields if form[row].value() is not None}
    posted["tags"] = ""
    for row in form.button_rows():
        for part in ("kind", "text", "url", "phone_number"):
            posted[f"buttons-{row.index}-{part}"] = getattr(row.button, part)
        posted[f"buttons-{row.index}-origin"] = row.origin
    for each in form.variable_rows():
        for part in ("key", "label", "example", "hint", "default"):
            posted[f"variables-{each.index}-{part}"] = getattr(each.variable, part)
    answer = admin.post(url, posted)

    assert answer.status_code == 302, answer.context and answer.context["adminform"].form.errors
    template.refresh_from_db()
    assert template.components == SHAPES[name].components
    assert template.status == "approved"


# --- parts that cannot be filled -------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNFILLABLE)
def test_a_template_with_an_unknown_part_is_not_offered_anywhere(
    chat: Conversation, client: Client, name: str, in_english: None
) -> None:
    components, word = UNFILLABLE[name]
    template = store_template(chat.api_channel, f"unfillable {name}", components)
    operator = boris(chat.chat_channel)
    api, desk, admin = Api(operator), signed_in(client, operator), signed_in(Client(), vera())

    row = api.get(f"templates/{template.pk}", **{"accept-language": "en"}).json()
    assert row["sendable"] is False
    assert [word in one["sentence"] for one in row["missing"]] == [True]
    preview = api.post(f"templates/{template.pk}/preview", {"parameters": {}})
    assert preview.json()["reason"] == "template_not_fillable"
    sent = api.post(f"conversations/{chat.pk}/messages", {"template": {"id": template.pk, "parameters": ["42"]}})
    assert (sent.status_code, sent.json()["reason"]) == (409, "template_not_fillable")
    assert word in sent.json()["error"]

    assert template.name not in page_html(desk, f"/chats/{chat.pk}/templates/", headers={"HX-Request": "true"})
    assert template.name not in page_html(desk, f"/chats/{chat.pk}/")
    page = desk.get(f"/templates/{template.pk}/").content.decode()
    assert "Cannot be sent from Okno" in page and word in page and "Send to a chat" not in page
    assert desk.get(f"/templates/{template.pk}/send/").status_code == 404
    page = admin.get(reverse("admin:templates_registry_template_change", args=[template.pk])).content.decode()
    assert "Cannot be sent from Okno" in page and word in page
    assert word in admin.get(reverse("admin:templates_registry_template_changelist")).content.decode()

    text = str(components[0].get("text") or components[1].get("text")).replace("{{1}}", "42")
    submitted = reply_submission.submit_reply(conversation_id=chat.pk, text=text, author=None)
    assert submitted.message is None and word in submitted.decision.sentence
    assert not Message.objects.filter(direction="outbound").exists()


def test_a_template_without_a_known_text_cannot_be_sent(channel: ApiChannel) -> None:
    template = store_template(channel, "unheard", [])

    assert [part.code for part in template.missing] == ["part_text"]
    assert not Template.objects.all().sendable().exists()


def test_a_provider_of_plain_texts_needs_only_the_text(db: None) -> None:
    template = store_template(ApiChannelFactory(), "button", UNFILLABLE["button"][0])

    assert template.is_sendable and list(Template.objects.all().sendable()) == [template]


def test_a_new_text_from_the_provider_updates_the_missing_parts(channel: ApiChannel) -> None:
    template = store_template(channel, "button", UNFILLABLE["button"][0])
    assert not Template.objects.all().sendable().exists()

    lifecycle.change_text(
        template, replace(definition_of("text"), name=template.name), by=ChangeAuthor(source=Source.SYNC)
    )

    assert Template.objects.all().sendable().exists()
