"""WhatsApp markup as HTML: as in WhatsApp, safe, and in linear time."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels_setup.codecs.whatsapp_markup import render_html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*готов*", "<strong>готов</strong>"),
        ("_готов_ и ~собран~", "<em>готов</em> и <s>собран</s>"),
        ("*_готов_*!", "<strong><em>готов</em></strong>!"),
        ("*_готов*_", "<strong>_готов</strong>_"),
        ("```код *не жирный*```", "<code>код *не жирный*</code>"),
        ("```две\nстроки```", "<code>две<br>строки</code>"),
        ("```не закрыто *а*", "```не закрыто <strong>а</strong>"),
        ("`код_а_б` и ` `", "<code>код_а_б</code> и ` `"),
        ("2*3*4 и snake_case_name", "2*3*4 и snake_case_name"),
        ("* не список *", "* не список *"),
        ("*не\nжирный*", "*не<br>жирный*"),
        ("** и __", "** и __"),
        ("цена: *100 ₽*, скидка", "цена: <strong>100 ₽</strong>, скидка"),
        ("a\r\nb", "a<br>b"),
        ("5 < 6 & 7", "5 &lt; 6 &amp; 7"),
        ("<b>", "&lt;b&gt;"),
        ("- чай\n- *кофе*\nвсё", "<ul><li>чай</li><li><strong>кофе</strong></li></ul>всё"),
        ("* чай\n* кофе", "<ul><li>чай</li><li>кофе</li></ul>"),
        ("1. раз\n2. два", '<ol><li value="1">раз</li><li value="2">два</li></ol>'),
        ("> цитата\n> ещё\nответ", "<blockquote>цитата<br>ещё</blockquote>ответ"),
        ("да\n> цитата", "да<blockquote>цитата</blockquote>"),
        ("-5 градусов, 1.5 л, >100", "-5 градусов, 1.5 л, &gt;100"),
        ("a\n\nb", "a<br><br>b"),
        ("пишите a.b@shop.example.", 'пишите <a href="mailto:a.b@shop.example">a.b@shop.example</a>.'),
        ("+7 (999) 123-45-67!", '<a href="tel:+79991234567">+7 (999) 123-45-67</a>!'),
        ("8 800 555-35-35", '<a href="tel:88005553535">8 800 555-35-35</a>'),
        ("заказ 12345678901, 4276 3800 1234 5678, 2026-11-28 10:00", None),
        ("javascript:alert(1)", None),
        ("https://", None),
    ],
)
def test_formatting_renders_as_in_whatsapp(text: str, html: str | None) -> None:
    assert render_html(text) == (text if html is None else html)


@pytest.mark.parametrize(
    ("text", "address", "after"),
    [
        ("Смотрите https://shop.example/a_b_c?x=1&y=2. Ждём!", "https://shop.example/a_b_c?x=1&y=2", ". Ждём!"),
        ("(https://shop.example/a)", "https://shop.example/a", ")"),
        ("https://shop.example/a_(b) тут", "https://shop.example/a_(b)", " тут"),
        ("*https://shop.example/a*", "https://shop.example/a", "</strong>"),
        ("«https://shop.example/»", "https://shop.example/", "»"),
    ],
)
def test_a_link_ends_before_the_sentences_punctuation(text: str, address: str, after: str) -> None:
    found = re.search(
        r'<a href="([^"]*)" target="_blank" rel="noopener noreferrer nofollow">([^<]*)</a>(.*)', render_html(text)
    )

    assert found
    assert (unescape(found[1]), unescape(found[2]), found[3]) == (address, address, after)


ALLOWED = re.compile(
    r"<(/?(?:strong|em|s|code|ul|ol|li|blockquote)|br|li value=\"\d+\"|/a"
    r"|a href=\"mailto:[^\"<>:/]*\"|a href=\"tel:\+?\d+\""
    r"|a href=\"https?://[^\"<>]*\" target=\"_blank\" rel=\"noopener noreferrer nofollow\")>"
)
NASTY = st.text(alphabet="*_~`<>&\"'/ \nаb1:.-@+()", max_size=60) | st.lists(
    st.sampled_from(
        [
            *("<script>alert(1)</script>", "javascript:alert(1)", "https://a.example/\"onmouseover='x'", "http://a"),
            *("*", "_", "```", "`", "<img src=x onerror=alert(1)>", "&lt;", " ", "\n", "- ", "1. ", "> "),
            *("a@b.example", "+7 999 123-45-67", 'a"b@c.example'),
        ]
    ),
    max_size=12,
).map("".join)


@given(NASTY)
def test_output_has_only_known_elements_properly_nested(text: str) -> None:
    html = render_html(text)
    opened: list[str] = []
    for close, name in re.findall(r"<(/?)(strong|em|s|code|a|ul|ol|li|blockquote)\b", html):
        if close:
            assert opened.pop() == name
        else:
            opened.append(name)

    assert opened == []
    assert not set("<>") & set(ALLOWED.sub("", html))


@given(st.text(alphabet="*_~`аб .,\n->1", max_size=40))
def test_markup_keeps_every_word(text: str) -> None:
    shown = unescape(re.sub(r"<(?!br)[^>]*>", "", render_html(text)).replace("<br>", " "))

    assert re.findall(r"[аб]", shown) == re.findall(r"[аб]", text)
