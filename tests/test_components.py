"""A template as the provider knows it: the Graph API's shape, its variables, what is wrong with it, what will hurt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from templates_registry import graph
from templates_registry.collisions import collisions
from templates_registry.components import (
    Button,
    Format,
    Header,
    Hole,
    Level,
    NotATemplate,
    Place,
    Template,
    Variable,
    described_as,
    split,
)
from templates_registry.linting import lint, lint_registry
from templates_registry.validating import REVIEWERS_REJECT, validate

ORDER_READY = {
    "name": "order_ready",
    "language": "ru",
    "category": "UTILITY",
    "parameter_format": "POSITIONAL",
    "components": [
        {"type": "HEADER", "format": "TEXT", "text": "Заказ {{1}}", "example": {"header_text": ["№ 42"]}},
        {
            "type": "BODY",
            "text": "Здравствуйте, {{1}}! Ваш заказ {{2}} готов к выдаче.",
            "example": {"body_text": [["Анна", "№ 42"]]},
        },
        {"type": "FOOTER", "text": "Ежедневно с 9 до 21"},
        {
            "type": "BUTTONS",
            "buttons": [
                {"type": "URL", "text": "Открыть", "url": "https://shop.example/{{1}}", "example": ["o/42"]},
                {"type": "PHONE_NUMBER", "text": "Позвонить", "phone_number": "+78120000000"},
                {"type": "QUICK_REPLY", "text": "Отложить"},
            ],
        },
    ],
}
NAMED = {
    "name": "order_named",
    "language": "en_US",
    "category": "UTILITY",
    "parameter_format": "NAMED",
    "components": [
        {
            "type": "BODY",
            "text": "Hello {{first_name}}, order {{order_id}} is ready.",
            "example": {
                "body_text_named_params": [
                    {"param_name": "first_name", "example": "Anna"},
                    {"param_name": "order_id", "example": "42"},
                ]
            },
        }
    ],
}


def template(body: str = "Ваш заказ {{1}} готов к выдаче.", **fields: object) -> Template:
    """A sound template but for what the test says."""
    made = Template(**({"name": "order_ready", "language": "ru", "category": "UTILITY", "body": body} | fields))  # type: ignore[arg-type]
    return described_as(made, [Variable(variable.key, example="42") for variable in made.variables])


def codes(found: Template) -> set[str]:
    return {problem.code for problem in validate(found)}


# the shape


@pytest.mark.parametrize("row", [ORDER_READY, NAMED], ids=["numbered", "named"])
def test_what_is_read_is_written_back_the_same(row: dict[str, object]) -> None:
    assert graph.write(graph.read(row)) == row


def test_numbered_variables_of_header_and_body_are_different_ones() -> None:
    found = graph.read(ORDER_READY)

    assert [variable.key for variable in found.variables] == ["header.1", "1", "2", "button.0"]
    assert [variable.place for variable in found.variables] == [
        Place.HEADER,
        Place.BODY,
        Place.BODY,
        Place.BUTTON,
    ]
    assert [variable.example for variable in found.variables] == ["№ 42", "Анна", "№ 42", "o/42"]


def test_a_named_variable_is_one_wherever_it_stands() -> None:
    found = Template("t", "ru", "Заказ {{order}} готов", header=Header(text="Заказ {{order}}"))

    assert [variable.key for variable in found.variables] == ["order"]


def test_numbered_values_are_listed_by_number_and_not_by_place() -> None:
    found = Template("t", "ru", "Заказ {{2}} для {{1}} готов")

    assert found.arrange({"2": "42", "1": "Анна"}) == ["Анна", "42"]
    assert found.keyed(["Анна", "42"]) == {"1": "Анна", "2": "42"}


def test_named_values_travel_by_name() -> None:
    found = graph.read(NAMED)

    assert found.format is Format.NAMED
    assert found.arrange({"order_id": "42", "first_name": "Anna"}) == {"first_name": "Anna", "order_id": "42"}


def test_numbers_become_text_and_other_things_are_refused_as_values() -> None:
    found = Template("t", "ru", "Заказ {{1}} для {{2}} готов")

    assert found.keyed([42, None]) == {"1": "42"}
    for wrong in ("42", 42, [["42"]], {"1": {}}, [True]):
        with pytest.raises(NotATemplate):
            found.keyed(wrong)


def test_labels_and_hints_of_ours_outlive_a_new_text_from_the_provider() -> None:
    ours = Variable("1", label="Имя клиента", hint="Как обращаемся в чате")

    found = graph.read(ORDER_READY, described=[ours])

    assert found.title_of("1") == "Имя клиента"
    assert found.variable("1") == replace(ours, example="Анна")


def test_what_we_do_not_know_is_kept_and_given_back() -> None:
    carousel = {"type": "CAROUSEL", "cards": [{"components": []}]}
    flow = {"type": "FLOW", "text": "Заполнить", "flow_id": "77", "navigate_screen": "ONE"}
    row = NAMED | {"components": [*NAMED["components"], {"type": "BUTTONS", "buttons": [flow]}, carousel]}  # type: ignore[misc]

    assert graph.write(graph.read(row)) == row


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        {"components": "text"},
        {"components": ["text"]},
        {"components": [{"type": "BODY", "text": "a"}, {"type": "BODY", "text": "b"}]},
        {"components": [{"type": "BUTTONS", "buttons": ["x"]}]},
    ],
)
def test_what_is_no_template_is_said_to_be_none(broken: object) -> None:
    with pytest.raises(NotATemplate) as caught:
        graph.read(broken)

    assert str(caught.value.sentence)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
component = st.fixed_dictionaries(
    {"type": st.sampled_from(["HEADER", "BODY", "FOOTER", "BUTTONS", "LIMITED", "body"])},
    optional={
        "format": st.sampled_from(["TEXT", "IMAGE", "LOCATION", "OTHER"]) | json_values,
        "text": st.sampled_from(["Заказ {{1}}", "{{name}}", "{{"]) | json_values,
        "buttons": st.lists(
            st.dictionaries(st.sampled_from(["type", "text", "url", "example"]), json_values), max_size=3
        )
        | json_values,
        "example": st.dictionaries(
            st.sampled_from(["body_text", "header_text", "header_handle", "body_text_named_params"]), json_values
        )
        | json_values,
    },
)


@given(st.fixed_dictionaries({"components": st.lists(component, max_size=4)}) | json_values)
def test_nothing_that_comes_in_is_more_than_refused(row: object) -> None:
    try:
        found = graph.read(row)
    except NotATemplate:
        return

    assert all(str(problem.sentence) for problem in lint(found))
    assert graph.read(graph.write(found)).variables == found.variables


def test_a_text_is_split_into_fixed_parts_and_holes() -> None:
    assert split("{{1}}, заказ {{ 2 }}{{name}}{") == (
        "",
        Hole("1"),
        ", заказ ",
        Hole("2"),
        "",
        Hole("name"),
        "{",
    )
    assert split("без переменных {1} {{ }}") == ("без переменных {1} {{ }}",)


# validation


def test_a_sound_template_has_no_problems() -> None:
    assert validate(graph.read(ORDER_READY)) == []
    assert validate(graph.read(NAMED)) == []


BUTTON = Button("QUICK_REPLY", "Отложить")
LINK = Button("URL", "Открыть", url="https://shop.example/")


@pytest.mark.parametrize(
    ("made", "field", "code"),
    [
        (template(name=""), "name", "name_missing"),
        (template(name="a" * 513), "name", "name_too_long"),
        (template(name="Заказ готов"), "name", "name_characters"),
        (template(language=""), "language", "language_missing"),
        (template(language="ru_RU"), "language", "language_unknown"),
        (template(category="SPAM"), "category", "category_unknown"),
        (template(""), "body", "body_missing"),
        (template("Заказ " + "а" * 1019 + "."), "body", "too_long"),
        (template("Ваш заказ {{1}, готов к выдаче"), "body", "braces"),
        (template("Ваш заказ {{}} готов к выдаче"), "body", "braces"),
        (template("Ваш заказ {{1}} готов для {{3}} сегодня"), "body", "not_sequential"),
        (template("Ваш заказ {{1}} готов для {{name}} сегодня"), "body", "mixed_variables"),
        (template("Ваш заказ {{#1}} готов к выдаче"), "body", "variable_name"),
        (template("Ваш заказ {{Имя}} готов к выдаче"), "body", "variable_name"),
        (template("{{1}}, ваш заказ готов к выдаче"), "body", "starts_with_variable"),
        (template("Готов ваш заказ номер {{1}} "), "body", "ends_with_variable"),
        (template("Вас, {{1}} {{2}}, ждёт заказ на складе"), "body", "adjacent_variables"),
        (template("Заказ {{1}}: {{2}}, {{3}} готов"), "body", "too_many_variables"),
        (template(header=Header(text="")), "header", "header_missing"),
        (template(header=Header(text="З" * 61)), "header", "too_long"),
        (template(header=Header(text="Заказ {{1}} от {{2}}")), "header", "header_many_variables"),
        (template(header=Header(text="*Заказ* готов")), "header", "header_markup"),
        (template(header=Header(text="Заказ\nготов")), "header", "header_lines"),
        (template(header=Header("SOUND")), "header", "header_kind"),
        (template(header=Header("LOCATION"), category="AUTHENTICATION"), "header", "header_location"),
        (template(footer="Ж" * 61), "footer", "too_long"),
        (template(footer="До {{1}}"), "footer", "footer_variable"),
        (template("Заказ готов", footer="Заказ готов"), "footer", "footer_same"),
        (template(buttons=(BUTTON,) * 11), "buttons", "buttons_too_many"),
        (template(buttons=(LINK,) * 3), "buttons", "buttons_of_kind"),
        (template(buttons=(BUTTON, LINK, BUTTON)), "buttons", "quick_replies_apart"),
        (template(buttons=(Button("QUICK_REPLY"),)), "buttons.0.text", "button_text_missing"),
        (template(buttons=(Button("QUICK_REPLY", "О" * 26),)), "buttons.0.text", "too_long"),
        (template(buttons=(Button("QUICK_REPLY", "Да {{1}}"),)), "buttons.0.text", "button_variable"),
        (template(buttons=(Button("URL", "Открыть"),)), "buttons.0.url", "url_missing"),
        (template(buttons=(replace(LINK, url="https://x.example/" + "a" * 2000),)), "buttons.0.url", "too_long"),
        (template(buttons=(replace(LINK, url="https://{{1}}/a"),)), "buttons.0.url", "url_variable"),
        (template(buttons=(Button("PHONE_NUMBER", "Звонок"),)), "buttons.0.phone_number", "phone_missing"),
        (template(buttons=(Button("COPY_CODE", example="C" * 21),)), "buttons.0.example", "too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_rule_is_a_sentence_at_its_field(made: Template, field: str, code: str) -> None:
    found = {(problem.field, problem.code): problem for problem in validate(made)}

    assert (field, code) in found
    sentence = str(found[field, code].sentence)
    assert len(sentence.split()) > 2
    assert "%(" not in sentence


def test_a_template_whose_own_examples_do_not_fit_is_told_so() -> None:
    long = described_as(template("Заказ {{1}} " + "а" * 900), [Variable("1", example="б" * 200)])

    assert "sample_too_long" in codes(long)


def test_what_reviewers_usually_reject_is_a_warning_and_no_refusal() -> None:
    found = validate(template("{{1}}{{2}}"))

    assert {problem.code for problem in found} <= REVIEWERS_REJECT
    assert all(problem.level is Level.WARNING for problem in found)


def test_the_variable_of_a_link_stays_numbered_in_a_template_with_names() -> None:
    link = Button("URL", "Открыть", url="https://shop.example/{{1}}")

    assert codes(template("Заказ {{order}} готов к выдаче", buttons=(link,))) == set()


def test_a_missing_example_names_the_variable_by_its_label() -> None:
    bare = Template("t", "ru", "Ваш заказ {{1}} готов", described=(Variable("1", label="Номер заказа"),))

    [problem] = validate(bare)

    assert problem.field == "variables.1.example"
    assert "Номер заказа" in str(problem.sentence)


# lint


def test_variables_with_no_word_between_are_named() -> None:
    [problem] = lint(template("Вас ждёт заказ {{1}}, {{2}} на складе"))

    assert problem.code == "ambiguous_variables"
    assert problem.details == {"first": "{{1}}", "second": "{{2}}", "between": ", "}


def test_a_category_that_the_provider_changed_is_told_with_both_names() -> None:
    [problem] = lint(template(asked_category="UTILITY", category="MARKETING"))

    assert problem.code == "category_drift"
    assert "utility" in str(problem.sentence)
    assert "marketing" in str(problem.sentence)


def test_a_template_of_hardly_any_words_is_said_to_catch_everything() -> None:
    assert "too_wide" in {problem.code for problem in lint(template("Да: {{1}}!"))}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ваш заказ {{1}} готов", "Ваш {{1}} готов"),
        ("Здравствуйте, {{1}}", "Здравствуйте, {{1}}! Ваш заказ {{2}} готов"),
        ("Здравствуйте, {{1}}", "{{1}}, ваш заказ готов"),
        ("Заказ 5 готов", "Заказ {{1}} готов"),
        ("Заказ «{{1}}» готов", 'Заказ "{{1}}" готов'),
        ("Заказ {{1}} готов.\nЖдём {{2}}", "Заказ {{1}}\nЖдём {{2}}"),
        ("Заказ {{1}} и {{1}} готов", "Заказ {{1}} и {{2}} готов"),
    ],
)
def test_templates_that_one_text_fits_both_are_named_to_each_other(one: str, other: str) -> None:
    first, second = template(one, name="first"), template(other, name="second")

    found = lint_registry([first, second])

    for key, name in ((first.key, "second"), (second.key, "first")):
        [problem] = [problem for problem in found[key] if problem.code == "collision"]
        assert name in str(problem.sentence)
    assert "collision" in {problem.code for problem in lint(first, others=[second])}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Заказ {{1}} готов", "Заказ {{1}} закрыт"),
        ("Заказ {{1}} готов", "Заявка {{1}} готов"),
        ("Заказ {{1}} готов", "Заказ {{1}} готов\nЖдём вас"),
        ("Заказ готов", "Заказ {{1}} готов"),
        ("Здравствуйте, {{1}}!\nЗаказ {{2}} готов", "Здравствуйте, {{1}}!\nОплата {{2}} готов"),
    ],
)
def test_templates_that_no_text_fits_both_do_not_collide(one: str, other: str) -> None:
    assert list(collisions([template(one, name="first"), template(other, name="second")])) == []


def test_a_collision_that_takes_a_contrived_text_is_told_in_one_line() -> None:
    greeting, ending = "Здравствуйте, {{1}}! ", " {{3}}. Ждём вас в магазине!"
    one = template(f"{greeting}Ваш заказ {{{{2}}}} уже готов и лежит на складе до{ending}", name="first")
    other = template(f"{greeting}Оплата {{{{2}}}} получена полностью, чек придёт на почту{ending}", name="second")

    [problem] = lint(one, others=[other])

    assert problem.code == "distant_collision"
    assert "second (ru)" in str(problem.sentence)


def test_a_header_or_footer_can_make_a_template_collide_with_the_body_of_another() -> None:
    whole = template("Ваш заказ {{1}} готов", name="first", footer="Ждём вас")
    body = template("Ваш заказ {{1}} готов\nЖдём вас", name="second")

    [collision] = collisions([whole, body])

    assert collision.likely
    assert collision.text == "Ваш заказ … готов\nЖдём вас"
