"""Conversion of comment HTML to WhatsApp text and back: no word is lost, and time is linear."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels_setup.codecs.html_text import MAX_LENGTH, html_to_text, html_to_visible_text, text_to_html
from channels_setup.codecs.whatsapp_markup import parse_runs
from tests.work import measure_cost


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Да</p>", "Да"),
        ("", ""),
        # lines
        ("<div>раз</div><div>два</div>", "раз\nдва"),
        ("раз<br/>два<br>три", "раз\nдва\nтри"),
        ("<p>раз</p>\n<p>два</p>", "раз\nдва"),
        ("<p>раз</p><p><br></p><p>два</p>", "раз\n\nдва"),
        ("<p>не закрыт", "не закрыт"),
        ("<p>раз<p>два", "раз\nдва"),
        ("раз\nдва <b>три</b>", "раз\nдва *три*"),
        ("<p>раз\nдва</p>", "раз два"),
        ("<p>не&nbsp;разрывать</p>", "не разрывать"),
        ("<p>&nbsp;&nbsp;отступ</p>", "отступ"),
        ("<p>раз</p><p>&nbsp;&nbsp;отступ</p>", "раз\n  отступ"),
        # entities and texts that are not tags
        ("Да &amp; нет", "Да & нет"),
        ("&amp;lt;b&amp;gt; <i></i>", "&lt;b&gt;"),
        ("5 < 6 и 7 > 3", "5 < 6 и 7 > 3"),
        ("Пишите <anna@shop.example>, <Имя>", "Пишите <anna@shop.example>, <Имя>"),
        ("https://x.example/?a=1&copy=2", "https://x.example/?a=1&copy=2"),
        ("<style>p{}</style><script>1</script><p>Да</p><!-- нет -->", "Да"),
        ('<p style="display:none">нет</p><p>да</p>', "да"),
        # lists
        ("<ul><li>чай</li><li>кофе</li></ul>", "• чай\n• кофе"),
        ("<ol><li>раз</li><li>два</li></ol>", "1. раз\n2. два"),
        ('<ol start="3"><li>раз<br>ещё</li><li value="7"><p>два</p></li></ol>', "3. раз\n   ещё\n7. два"),
        ('<ol type="a"><li>раз</li><li>два</li></ol>', "a. раз\nb. два"),
        (
            "<ol><li>раз</li><li>два<ul><li>а</li><li>б</li></ul></li><li>три</li></ol>",
            "1. раз\n2. два\n   • а\n   • б\n3. три",
        ),
        ("Список:<ul><li>чай<li>кофе</ul>всё", "Список:\n• чай\n• кофе\nвсё"),
        # formatting
        ("<p><b>Важно:</b> <em>не</em> <s>это</s>, <code>x = 1</code></p>", "*Важно:* _не_ ~это~, `x = 1`"),
        ("<strong><i>оба</i></strong>", "*_оба_*"),
        ("<b>Привет </b>мир", "*Привет* мир"),
        ("<b>При</b>вет", "Привет"),
        ("<b>раз<br>два</b>", "*раз*\n*два*"),
        ("<b>a*b</b> и (*) <b>x</b>", "a*b и (*) x"),
        ("<b> </b>x", "x"),
        ('<span style="font-weight: 700; font-style: italic">ж</span>', "*_ж_*"),
        ('<b style="font-weight:normal">обычный</b>', "обычный"),
        ("<h2>Тема</h2>текст", "*Тема*\nтекст"),
        ("<pre>a\n  b</pre>после", "```a\n  b```\nпосле"),
        ("<blockquote>раз<br>два</blockquote><p>ответ</p>", "> раз\n> два\nответ"),
        ("<table><tr><td>1</td><td><p>2</p></td></tr><tr><td>3</td><td>4</td></tr></table>", "1 | 2\n3 | 4"),
        # links
        ('<a href="https://x.example/a">тут</a>', "тут (https://x.example/a)"),
        ('<a href="https://x.example/a">https://x.example/a</a>', "https://x.example/a"),
        ('<a href="https://x.example/a/">x.example/a</a>', "https://x.example/a/"),
        ('<a href="https://x.example/?a=1&amp;b=2">тут</a>', "тут (https://x.example/?a=1&b=2)"),
        ('<a href="https://x.example/a" title="Каталог">тут</a>', "тут (Каталог: https://x.example/a)"),
        ('<a href="https://x.example/a"></a>', "https://x.example/a"),
        ('<a href="https://x.example/a"><b>тут</b></a>', "*тут* (https://x.example/a)"),
        ('<a href="//x.example/a">тут</a>', "тут (https://x.example/a)"),
        ('Звоните: <a href="tel:+79991234567">нам</a>', "Звоните: нам: +79991234567"),
        ('<a href="tel:+79991234567">8 (999) 123-45-67</a>', "8 (999) 123-45-67"),
        ('<a href="mailto:a@b.example?subject=1">почта</a>', "почта: a@b.example"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ('<a href="javascript:alert(1)">тут</a>, <a href="#x">там</a>', "тут, там"),
        # pictures
        ('<img src="https://x.example/a.png">', "https://x.example/a.png"),
        ('<img src="https://x.example/a.png" alt="Схема">', "Схема (https://x.example/a.png)"),
        ('Да <img class="emoji" alt="😀" src="https://x.example/1.png">', "Да 😀"),
        ('Да <img alt="👍🏽" src="https://x.example/1.png">', "Да 👍🏽"),
        ('<p>Да</p><img src="https://x.example/t.gif" width="1" height="1">', "Да"),
        ('<p>Да</p><img src="data:image/png;base64,AAAA" alt="фото">', "Да\nфото"),
    ],
)
def test_html_converts_to_visible_text(html: str, text: str) -> None:
    assert html_to_text(html) == text


@pytest.mark.parametrize(
    "text",
    [
        "Да",
        "раз\nдва",
        '5 < 6 & 7 > 3 «ок» "да"',
        "<b>не жирно</b>",
        "*ж* _к_ ~з~ `c`",
        "2*3*4",
        "- a\n1. b\n> c",
        "a  b\n  c",
    ],
)
def test_text_survives_conversion_to_html_and_back(text: str) -> None:
    assert html_to_text(text_to_html(text)) == text


@given(st.text(alphabet="абв *_~`<>&\"'/\n\t•.->1\xa0=;", max_size=60))
def test_any_text_keeps_its_words_and_lines_in_html(text: str) -> None:
    back = html_to_text(text_to_html(text))

    assert re.sub(r"[\s*_~`]", "", back) == re.sub(r"[\s*_~`]", "", text)
    lines = [line for line in text.split("\n") if line.strip("` \t\xa0")]
    if "`" not in text:
        assert [line.split() for line in back.split("\n") if line.strip()] == [line.split() for line in lines]


INLINE = st.sampled_from(["b", "i", "s", "code", "strong", "em", "span", "u"])
BLOCK = st.sampled_from(["p", "div", "li", "blockquote", "h3", "pre", "td"])
LEAF = st.text(alphabet="абв *_~`.1 ", min_size=1, max_size=8)
HTML = st.recursive(
    LEAF,
    lambda inner: (
        st.tuples(INLINE | BLOCK, st.lists(inner, max_size=3)).map(
            lambda one: f"<{one[0]}>{''.join(one[1])}</{one[0]}>"
        )
        | st.lists(inner, max_size=4).map("".join)
        | inner.map(lambda one: f"<ul>{one}</ul>")
    ),
    max_leaves=12,
)


@given(HTML)
def test_no_word_of_html_is_lost_or_wrongly_formatted(html: str) -> None:
    words = re.findall(r"[абв]", re.sub(r"<[^>]*>", " ", html))
    text = html_to_text(html)

    assert re.findall(r"[абв]", text) == words
    assert re.findall(r"[абв]", html_to_visible_text(html)) == words
    if not set("*_~`") & set(re.sub(r"<[^>]*>", "", html)) and not re.search(r"<(b|i|s|code|strong|em|h3|pre)>", html):
        assert all(not signs for line in text.split("\n") for _words, signs in parse_runs(line))


def test_visible_text_has_no_formatting_marks() -> None:
    html = '<p><b>Важно</b></p><ol><li><a href="https://x.example">тут</a></li></ol>'

    assert html_to_visible_text(html) == "Важно\nтут"


@pytest.mark.parametrize("address", ["//a", "#"])
@pytest.mark.parametrize("title", ["", " title=t"])
@pytest.mark.parametrize(
    "tags",
    [
        ("a href",),
        ("video src",),
        ("audio src",),
        ("iframe src",),
        ("a href", "video src", "audio src", "iframe src"),
    ],
)
def test_unclosed_links_take_linear_work(tags: tuple[str, ...], title: str, address: str) -> None:
    links = "".join(f"<{tag}={address}{title}>" for tag in tags)
    half = MAX_LENGTH // 2
    html = links * (half // len(links)) + "x<br>" * (half // 5)
    once = f"{links}{'x<br>' * (MAX_LENGTH // 5 - 50)}"

    assert measure_cost(lambda: [html_to_text(html), html_to_text(once)], limit=80) <= 80


def test_a_link_within_a_video_keeps_both_addresses() -> None:
    assert html_to_text('<video src="//a"><a href="//b">y</a><br>x</video>') == "y (https://b)\nx (https://a)"
    assert html_to_text('<video src="//a">x<video src="//b">y') == "x (https://a)y (https://b)"


@pytest.mark.parametrize("end", ["<>", ">", "", "'>", '">', "<b>"])
@pytest.mark.parametrize("name", ["a", "/a", "x", "o:p"])
@pytest.mark.parametrize("quotes", ["\"'", "'\""])
def test_tags_inside_quotes_take_linear_work(quotes: str, name: str, end: str) -> None:
    outer, inner = quotes
    unit = f"={outer}<{name}={inner}{outer}{inner}"
    html = f"<{name}{unit * (MAX_LENGTH // len(unit) - 2)}{end}"

    assert measure_cost(lambda: html_to_text(html), limit=40) <= 40


def test_tags_after_an_unfinished_tag_are_parsed() -> None:
    assert html_to_text('<a href="<b>" <b>жирно</b>') == '<a href="*" жирно*'
    assert (
        html_to_text('<x y="<z>"> <a href="https://x.example/?a>b">тут</a>')
        == '<x y="<z>"> тут (https://x.example/?a>b)'
    )


def test_long_html_is_cut_after_dropping_embedded_pictures() -> None:
    picture = f'<img src="data:image/png;base64,{"A" * 2 * MAX_LENGTH}">'

    assert html_to_text(f"<p>до</p>{picture}<p>после</p>") == "до\nпосле"
    assert len(html_to_text("<p>слово</p>" * MAX_LENGTH)) < MAX_LENGTH


def test_an_overlong_numeric_entity_becomes_a_replacement_character() -> None:
    assert html_to_text(f"<p>&#{'9' * 6000};</p>") == "\ufffd"
