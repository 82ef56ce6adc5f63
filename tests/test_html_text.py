"""HTML of comments as plain text."""

import pytest

from channels_setup.codecs.html_text import html_of, text_of


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Да</p>", "Да"),
        ("Да &amp; нет", "Да & нет"),
        ("5 < 6 и 7 > 3", "5 < 6 и 7 > 3"),
        ("<div>раз</div><div>два</div>", "раз\nдва"),
        ("раз<br/>два<br>три", "раз\nдва\nтри"),
        ("<p>раз</p>\n<p>два</p>", "раз\nдва"),
        ("<ul><li>чай</li><li>кофе</li></ul>", "• чай\n• кофе"),
        ('<a href="https://x.example/a">тут</a>', "тут https://x.example/a"),
        ('<a href="https://x.example/a">https://x.example/a</a>', "https://x.example/a"),
        ('<a href="javascript:alert(1)">тут</a>', "тут"),
        ('<img src="https://x.example/a.png">', "https://x.example/a.png"),
        ("<style>p{}</style><script>1</script><p>Да</p>", "Да"),
        ("<p>не&nbsp;разрывать</p>", "не разрывать"),
        ("<p>не закрыт", "не закрыт"),
        ("", ""),
    ],
)
def test_what_a_reader_sees(html: str, text: str) -> None:
    assert text_of(html) == text


@pytest.mark.parametrize("text", ["Да", "раз\nдва", '5 < 6 & 7 > 3 «ок» "да"', "<b>не жирно</b>"])
def test_there_and_back(text: str) -> None:
    assert text_of(html_of(text)) == text
