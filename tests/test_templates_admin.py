"""Admin of templates: access, list, form, preview, actions, synchronization, files, operators' tags."""

import io
import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from channels_setup.models import ApiChannel
from templates_registry.models import Template, TemplateTags
from templates_registry.provider import provider_sync
from tests.factories import ApiChannelFactory, TemplateFactory, UserFactory, boris, gleb, vera
from tests.pages import page_html

pytestmark = pytest.mark.django_db

LIST = reverse("admin:templates_registry_template_changelist")
ADD = reverse("admin:templates_registry_template_add")
PREVIEW = reverse("admin:templates_registry_template_preview")
IMPORT = reverse("admin:templates_registry_template_import")
EXPORT = reverse("admin:templates_registry_template_export")
SYNC = reverse("admin:templates_registry_template_sync")


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(vera())
    client.cookies["django_language"] = "en"
    return client


@pytest.fixture
def channel() -> ApiChannel:
    return ApiChannelFactory(name="WhatsApp")


def page_of(template: Template) -> str:
    return reverse("admin:templates_registry_template_change", args=[template.pk])


def action_url(slug: str) -> str:
    return reverse("admin:templates_registry_template_action", args=[slug])


def filled(channel: ApiChannel, **more: Any) -> dict[str, Any]:
    return {
        "api_channel": channel.pk,
        "name": "order_ready",
        "language": "ru",
        "category": "UTILITY",
        "tags": "магазин, доставка, магазин",
        "header_kind": "TEXT",
        "header_text": "Заказ готов",
        "body": "Здравствуйте, {{1}}!\r\nВаш заказ {{2}} готов к выдаче.",
        "footer": "Ежедневно с 9 до 21",
        "buttons-0-kind": "QUICK_REPLY",
        "buttons-0-text": "Отложить",
        "buttons-1-kind": "URL",
        "buttons-1-text": "Где это",
        "buttons-1-url": "https://shop.example/{{1}}",
        "variables-0-key": "1",
        "variables-0-label": "Имя клиента",
        "variables-0-example": "Анна",
        "variables-1-key": "2",
        "variables-1-example": "№ 42",
        "variables-2-key": "button.1",
        "variables-2-example": "42",
        **more,
    }


def as_filled(template: Template, **more: Any) -> dict[str, Any]:
    """Return the form data of a stored template as a browser would post it."""
    definition = template.definition
    data: dict[str, Any] = {
        "category": template.category,
        "tags": ", ".join(template.tags),
        "header_kind": definition.header.kind if definition.header else "",
        "header_text": definition.header_text,
        "body": definition.body,
        "footer": definition.footer,
    }
    for index, button in enumerate(definition.buttons):
        row = {"kind": button.kind, "text": button.text, "url": button.url, "phone_number": button.phone_number}
        data |= {f"buttons-{index}-{name}": value for name, value in row.items()}
        data[f"buttons-{index}-origin"] = str(index)
    for index, variable in enumerate(definition.variables):
        row = {"key": variable.key, "label": variable.label, "example": variable.example}
        data |= {f"variables-{index}-{name}": value for name, value in row.items()}
    return data | more


# --- access ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [boris, gleb])
def test_operators_do_not_get_in(client: Client, channel: ApiChannel, who: Any) -> None:
    template = TemplateFactory(api_channel=channel)
    client.force_login(who())

    for url in (LIST, ADD, page_of(template), IMPORT, EXPORT):
        assert client.get(url).status_code in (302, 403)
    for url in (PREVIEW, SYNC, action_url("pause"), IMPORT):
        assert client.post(url, {"template": template.pk}).status_code in (302, 403)
    template.refresh_from_db()
    assert template.status == "approved"


def test_a_user_with_view_permission_changes_nothing(client: Client, channel: ApiChannel) -> None:
    template = TemplateFactory(api_channel=channel)
    viewer = UserFactory(is_staff=True)
    viewer.user_permissions.set(_permissions("view_template"))
    client.force_login(viewer)

    page = client.get(page_of(template)).content.decode()

    assert "Здравствуйте, Анна!" in page and "<textarea" not in page
    assert client.get(LIST).status_code == client.get(EXPORT).status_code == 200
    for url, data in ((action_url("pause"), {"template": template.pk}), (SYNC, {}), (IMPORT, {}), (PREVIEW, {})):
        assert client.post(url, data).status_code == 403
    assert client.post(page_of(template), as_filled(template)).status_code == 403


def _permissions(*codenames: str) -> Any:
    from django.contrib.auth.models import Permission

    return Permission.objects.filter(codename__in=codenames)


# --- list ------------------------------------------------------------------------------------------------


def test_the_list_shows_text_and_status_without_deleted_templates(admin: Client, channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, name="here", body="Заказ {{1}} ждёт вас у нас.")
    TemplateFactory(api_channel=channel, name="gone_for_good", status="deleted")

    page = admin.get(LIST).content.decode()

    assert "Заказ {{1}} ждёт вас у нас." in page and "approved" in page
    assert "gone_for_good" not in page
    assert "gone_for_good" in admin.get(LIST, {"which": "deleted"}).content.decode()
    assert "gone_for_good" in admin.get(LIST, {"status__exact": "deleted"}).content.decode()


def test_the_list_has_a_constant_number_of_queries(
    admin: Client, channel: ApiChannel, django_assert_max_num_queries: Any
) -> None:
    TemplateFactory.create_batch(40, api_channel=channel)

    with django_assert_max_num_queries(25):
        assert admin.get(LIST).status_code == 200


@pytest.mark.parametrize("query", ["q=ready", "language=en", "which=unused", "which=poor", "quality__exact=RED"])
def test_the_list_can_be_searched_and_filtered(admin: Client, channel: ApiChannel, query: str) -> None:
    TemplateFactory(api_channel=channel)

    assert admin.get(f"{LIST}?{query}").status_code == 200


def test_a_broken_template_does_not_break_the_list(admin: Client, channel: ApiChannel) -> None:
    template = TemplateFactory(api_channel=channel)
    twice = [{"type": "BODY", "text": "а"}, {"type": "BODY", "text": "б"}]
    Template.objects.filter(pk=template.pk).update(components=twice)

    assert admin.get(LIST).status_code == 200
    assert admin.get(page_of(template)).status_code == 200


# --- saving ----------------------------------------------------------------------------------------------


def test_a_new_template_is_a_draft_with_all_fields(admin: Client, channel: ApiChannel) -> None:
    response = admin.post(ADD, filled(channel), follow=True)

    template = Template.objects.get()
    definition = template.definition
    assert response.redirect_chain[-1][0] == page_of(template)
    assert (template.status, template.tags, template.requested_category) == (
        "draft",
        ["магазин", "доставка"],
        "UTILITY",
    )
    assert definition.body == "Здравствуйте, {{1}}!\nВаш заказ {{2}} готов к выдаче."
    assert [button.text for button in definition.buttons] == ["Отложить", "Где это"]
    assert (definition.variable_title("1"), definition.variable("button.1").example) == ("Имя клиента", "42")
    event = template.events.get()
    assert (event.to_status, event.author.username, event.source) == ("draft", "vera", "manual")


def test_named_variables_make_it_a_named_template(admin: Client, channel: ApiChannel) -> None:
    body = "Здравствуйте, {{client_name}}! Заказ готов."
    admin.post(ADD, filled(channel, body=body, **{"buttons-1-kind": ""}))

    assert Template.objects.get().parameter_format == "NAMED"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Заказ готов"}, "name"),
        ({"body": ""}, "template text"),
        ({"body": "Раз {{1}} и {{3}} вот так вот."}, "{{2}}"),
        ({"header_text": "x" * 61}, "61"),
        ({"footer": "с {{1}}"}, "footer"),
        ({"buttons-0-text": ""}, "Button 1"),
        ({"buttons-1-url": "https://a.example/{{1}}/x"}, "Button 2"),
        ({"tags": "x" * 41}, "40"),
        ({"language": "xx"}, "xx"),
    ],
)
def test_errors_are_shown_and_nothing_is_saved(
    admin: Client, channel: ApiChannel, changes: dict[str, str], message: str
) -> None:
    response = admin.post(ADD, filled(channel, **changes))

    assert response.status_code == 200
    assert message in response.content.decode()
    assert not Template.objects.exists()


def test_the_same_name_and_language_twice_is_refused(admin: Client, channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, name="order_ready")

    response = admin.post(ADD, filled(channel))

    assert response.status_code == 200
    assert "already exists" in response.content.decode()


def test_warnings_with_links_are_shown_after_saving(admin: Client, channel: ApiChannel) -> None:
    other = TemplateFactory(
        api_channel=channel, name="other", body="Здравствуйте, {{1}}!\nВаш заказ {{2}} готов к выдаче."
    )

    page = admin.post(ADD, filled(channel, header_kind="", footer=""), follow=True).content.decode()

    assert Template.objects.count() == 2
    assert page_of(other) in page and "The same text can match" in page


def test_saving_without_a_change_leaves_an_approved_template_as_it_is(admin: Client, channel: ApiChannel) -> None:
    provider_sync.sync_channel(channel)
    templates = list(Template.objects.all())
    assert templates
    for template in templates:
        before = template.components, template.status, template.versions.count(), template.events.count()

        response = admin.post(page_of(template), as_filled(template))

        template.refresh_from_db()
        assert response.status_code == 302, response.content.decode()[-3000:]
        assert before == (template.components, template.status, template.versions.count(), template.events.count())


def test_a_changed_text_is_a_draft_and_shown_word_by_word(admin: Client, channel: ApiChannel) -> None:
    template = TemplateFactory(api_channel=channel, body="Ваш заказ {{1}} собран.", examples=["5"])

    response = admin.post(
        page_of(template), as_filled(template, body="Ваш заказ {{1}} готов.", _continue=""), follow=True
    )

    template.refresh_from_db()
    assert (template.status, template.versions.count()) == ("draft", 2)
    assert "approved again" in response.content.decode()
    assert "<del>собран</del><ins>готов</ins>" in response.content.decode()


def test_the_name_of_a_submitted_template_cannot_be_changed(admin: Client, channel: ApiChannel) -> None:
    submitted, draft = (
        TemplateFactory(api_channel=channel, name="a"),
        TemplateFactory(api_channel=channel, name="b", status="draft"),
    )
    for template in (submitted, draft):
        changes = {"api_channel": channel.pk, "name": f"{template.name}_new", "language": "en"}
        admin.post(page_of(template), as_filled(template, **changes))
        template.refresh_from_db()

    assert (submitted.name, submitted.language) == ("a", "ru")
    assert (draft.name, draft.language) == ("b_new", "en")


def test_a_button_keeps_the_providers_extra_data(admin: Client, channel: ApiChannel) -> None:
    flow = {"type": "FLOW", "text": "Ход", "flow_id": "7"}
    template = TemplateFactory(
        api_channel=channel, body="Ваш заказ готов.", buttons=[{"type": "QUICK_REPLY", "text": "Да"}, flow]
    )

    data = as_filled(template, body="Ваш заказ собран.")
    admin.post(page_of(template), {**data, "buttons-0-kind": ""})

    template.refresh_from_db()
    assert template.components[-1]["buttons"] == [flow]


# --- preview ---------------------------------------------------------------------------------------------


def test_an_empty_form_shows_no_errors(admin: Client, channel: ApiChannel) -> None:
    page = page_html(admin, reverse("admin:templates_registry_template_add"))

    assert "problem error" not in page


def test_the_preview_shows_the_unsaved_message(admin: Client, channel: ApiChannel) -> None:
    body = "*Здравствуйте*, {{1}}! <script>alert(1)</script> Заказ {{2}} готов."
    answer = admin.post(PREVIEW, filled(channel, body=body, **{"variables-0-example": "{{2}}"})).content.decode()

    assert "<strong>Здравствуйте</strong>, {{2}}!" in answer
    assert "<script>" not in answer and "&lt;script&gt;" in answer
    assert "№ 42" in answer and "Отложить" in answer and "https://shop.example/42" in answer
    assert not Template.objects.exists()


def test_the_preview_has_a_row_for_each_variable_and_one_more_button(admin: Client, channel: ApiChannel) -> None:
    answer = admin.post(PREVIEW, filled(channel, body="Раз {{1}}, два {{2}}, три {{3}} и всё.")).content.decode()

    assert 'data-shape="1,2,3,button.1,"' in answer
    assert 'data-shape="QUICK_REPLY,URL,,"' in answer
    assert 'value="Имя клиента"' in answer


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"body": "{{"},
        {"body": "x" * 100_000},
        {"body": "{{1}}" * 3000},
        {"buttons-0-kind": "НЕТ", "header_kind": "ЧТО", "language": "…"},
        {"variables-0-key": "button.99", "buttons-0-origin": "-1", "buttons-0-kind": "URL"},
        {"buttons-0-origin": "²", "buttons-0-kind": "URL"},
    ],
)
def test_the_preview_accepts_any_input(admin: Client, data: dict[str, str]) -> None:
    assert admin.post(PREVIEW, data).status_code == 200


# --- actions ---------------------------------------------------------------------------------------------


def test_a_draft_is_sent_for_approval_and_marked_approved(admin: Client, channel: ApiChannel) -> None:
    template = TemplateFactory(api_channel=channel, status="draft")

    page = admin.post(action_url("submit"), {"template": template.pk}, follow=True).content.decode()

    template.refresh_from_db()
    assert template.status == "pending" and "1–2 days" in page

    admin.post(action_url("approve"), {"template": template.pk})

    template.refresh_from_db()
    assert template.status == "approved"


def test_texts_that_reviewers_reject_are_reported_before_submission(admin: Client, channel: ApiChannel) -> None:
    template = TemplateFactory(api_channel=channel, status="draft", body="{{1}}, ваш заказ {{2}} готов к выдаче")

    page = admin.post(action_url("submit"), {"template": template.pk})

    template.refresh_from_db()
    assert page.status_code == 200 and template.status == "draft"

    admin.post(action_url("submit"), {"template": template.pk, "confirmed": "yes"})

    template.refresh_from_db()
    assert template.status == "pending"


def test_a_rejection_asks_for_the_reason_and_shows_it(admin: Client, channel: ApiChannel) -> None:
    template = TemplateFactory(api_channel=channel, status="pending")

    confirmation = admin.post(action_url("reject"), {"template": template.pk})
    admin.post(action_url("reject"), {"template": template.pk, "confirmed": "yes", "reason": "Похоже на <рекламу>"})

    template.refresh_from_db()
    assert 'name="reason"' in confirmation.content.decode()
    assert (template.status, template.reject_reason) == ("rejected", "Похоже на <рекламу>")
    assert "&lt;рекламу&gt;" in admin.get(page_of(template)).content.decode()


def test_a_list_action_skips_templates_that_do_not_allow_it(admin: Client, channel: ApiChannel) -> None:
    first, second = TemplateFactory.create_batch(2, api_channel=channel, status="pending")
    deleted = TemplateFactory(api_channel=channel, status="deleted")

    chosen = {"action": "approve", "_selected_action": [first.pk, second.pk, deleted.pk]}
    page = admin.post(f"{LIST}?status__exact=pending", chosen, follow=True).content.decode()
    deleted_only = {"action": "approve", "_selected_action": [deleted.pk]}
    refused = admin.post(f"{LIST}?which=deleted", deleted_only, follow=True).content.decode()

    assert "Done for 2 templates" in page
    assert "not available while the template is" in refused
    assert Template.objects.filter(status="approved").count() == 2


@pytest.mark.parametrize("slug", ["pause", "submit", "delete"])
def test_an_action_accepts_only_post(admin: Client, slug: str) -> None:
    assert admin.get(action_url(slug)).status_code == 405
    assert admin.post(action_url("nonsense")).status_code == 404


def test_templates_cannot_be_deleted_permanently(admin: Client, channel: ApiChannel) -> None:
    template = TemplateFactory(api_channel=channel)

    response = admin.post(reverse("admin:templates_registry_template_delete", args=[template.pk]), {"post": "yes"})

    assert response.status_code == 403
    assert Template.objects.exists()


# --- synchronization -------------------------------------------------------------------------------------


def test_one_channel_or_all_channels_are_synchronized(admin: Client, channel: ApiChannel) -> None:
    other = ApiChannelFactory()

    page = admin.post(SYNC, {"channel": channel.pk}, follow=True).content.decode()

    assert "10 new" in page
    assert not Template.objects.filter(api_channel=other).exists()

    admin.post(SYNC)

    assert Template.objects.filter(api_channel=other).exists()


# --- files -----------------------------------------------------------------------------------------------


def upload(rows: list[Any], channel: ApiChannel | None = None) -> dict[str, Any]:
    file = io.BytesIO(json.dumps({"data": rows}).encode())
    file.name = "templates.json"
    return {"file": file, "api_channel": channel.pk if channel else ""}


def row(name: str = "order_ready", body: str = "Ваш заказ {{1}} готов и ждёт.") -> dict[str, Any]:
    return {"name": name, "language": "ru", "category": "UTILITY", "components": [{"type": "BODY", "text": body}]}


def signed_rows(page: str) -> str:
    return page.partition('name="rows" value="')[2].partition('"')[0]


def test_an_import_is_shown_first_and_written_when_confirmed(admin: Client, channel: ApiChannel) -> None:
    TemplateFactory(api_channel=channel, name="order_ready", body="Ваш заказ {{1}} собран и ждёт.")

    shown = admin.post(IMPORT, upload([row(), row("new_one"), row("Не так")], channel)).content.decode()

    assert "<del>собран</del><ins>готов</ins>" in shown
    assert Template.objects.count() == 1

    admin.post(IMPORT, {"rows": signed_rows(shown)})

    assert set(Template.objects.values_list("name", flat=True)) == {"order_ready", "new_one"}
    assert Template.objects.get(name="new_one").events.get().author.username == "vera"


def test_an_import_plan_that_changed_is_shown_again(admin: Client, channel: ApiChannel) -> None:
    shown = admin.post(IMPORT, upload([row()], channel)).content.decode()
    TemplateFactory(api_channel=channel, name="order_ready", body="Ваш заказ {{1}} собран и ждёт.")

    again = admin.post(IMPORT, {"rows": signed_rows(shown)}).content.decode()

    assert "changed since the preview" in again
    assert Template.objects.get().versions.count() == 1

    admin.post(IMPORT, {"rows": signed_rows(again)})

    assert Template.objects.get().versions.count() == 2


def test_forged_rows_and_rows_of_another_user_are_not_written(
    client: Client, admin: Client, channel: ApiChannel
) -> None:
    shown = admin.post(IMPORT, upload([row()], channel)).content.decode()

    admin.post(IMPORT, {"rows": signed_rows(shown)[:-1] + "x"})
    other = UserFactory(is_staff=True, is_superuser=True)
    client.force_login(other)
    refused = client.post(IMPORT, {"rows": signed_rows(shown)})

    assert refused.status_code == 403
    assert not Template.objects.exists()


def test_an_unreadable_file_is_an_error_of_the_field(admin: Client, channel: ApiChannel) -> None:
    file = io.BytesIO(b"{")
    file.name = "x.json"

    page = admin.post(IMPORT, {"file": file, "api_channel": channel.pk})

    assert page.status_code == 200
    assert "JSON" in page.content.decode()


@pytest.mark.parametrize("form", ["json", "csv", "xlsx", "nonsense"])
def test_an_export_is_downloaded_as_a_file(admin: Client, channel: ApiChannel, form: str) -> None:
    TemplateFactory(api_channel=channel)

    response = admin.get(EXPORT, {"form": form, "channel": channel.pk})

    assert response.status_code == 200
    assert response["Content-Disposition"].startswith("attachment")
    assert len(response.content) > 100


# --- operators' tags -------------------------------------------------------------------------------------


def test_an_operator_with_tags_sees_templates_with_these_tags(admin: Client, channel: ApiChannel) -> None:
    operator = boris(channel.default_chat_channel)
    shop, warehouse = (
        TemplateFactory(api_channel=channel, tags=["магазин"]),
        TemplateFactory(api_channel=channel, tags=["склад"]),
    )
    plain = TemplateFactory(api_channel=channel)

    page = reverse("admin:templates_registry_templatetags_add")
    admin.post(page, {"user": operator.pk, "tags": "магазин, возврат, магазин"})

    assert TemplateTags.objects.get(user=operator).tags == ["магазин", "возврат"]
    assert set(Template.objects.all().visible_to(operator)) == {shop, plain}
    assert warehouse not in Template.objects.all().visible_to(operator)
    assert admin.get(reverse("admin:templates_registry_templatetags_changelist")).status_code == 200


def test_the_page_heading_keeps_the_case_of_a_templates_name(admin: Client, channel: ApiChannel) -> None:
    template = TemplateFactory(api_channel=channel, name="order_ready", language="ru")

    page = admin.get(reverse("admin:templates_registry_template_change", args=[template.pk])).content.decode()

    assert "order_ready · ru" in page and "Order_ready" not in page
