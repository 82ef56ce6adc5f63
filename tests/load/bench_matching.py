"""Benchmark of recognition among 6,000 templates, with typical and worst-case texts.

    python -m tests.load.bench_matching [--templates 6000] [--seed 1]

Prints a table of milliseconds. Targets: median ≤ 2 ms, ≤ 20 ms for any text.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping

from templates_registry.content.components import Header, TemplateDefinition
from templates_registry.content.rendering import render
from templates_registry.matching.matcher import MatchIndex
from templates_registry.matching.result import IndexEntry

MEDIAN, WORST = 2.0, 20.0  # milliseconds

# One phrase per line. {{N}} and {{M}} get their numbers when a template is built.
GREETINGS = {
    "ru": """
        Здравствуйте, {{1}}!
        Добрый день, {{1}}!
        {{1}}, здравствуйте!
        Добрый день!
        Уважаемый(ая) {{1}}!
        Приветствуем, {{1}}.
        Здравствуйте, {{1}}! Это магазин «Лиговский».
    """,
    "en": """
        Hello {{1}},
        Hi {{1}}!
        Dear {{1}},
        Good afternoon!
        {{1}}, good news!
    """,
}
SUBJECTS = {
    "ru": """
        Ваш заказ
        Заявка
        Оплата
        Доставка
        Запись
        Возврат
        Счёт
        Договор
        Ремонт
        Бронь
        Посылка
        Обращение
        Заказ-наряд
        Полис
        Абонемент
        Билет
        Анализ
        Посещение
        Смена
    """,
    "en": """
        Your order
        Your request
        Payment
        Delivery
        Your booking
        The refund
        Invoice
        Contract
        Repair
        Your parcel
        Your case
        Work order
        Policy
        Subscription
        Ticket
    """,
}
STATES = {
    "ru": """
        готов к выдаче
        принят в работу
        передан курьеру
        ждёт подтверждения
        отменён по вашей просьбе
        оплачен полностью
        задерживается
        будет доставлен
        перенесён
        закрыт
        возвращён на склад
        согласован
        проверен специалистом
        частично готов
        ожидает поставки
    """,
    "en": """
        is ready for pickup
        has been accepted
        was handed to the courier
        needs confirmation
        was cancelled as you asked
        has been paid in full
        is delayed
        will be delivered
        is closed
        was returned to the warehouse
        has been approved
        is partly ready
        is waiting for supply
    """,
}
DETAILS = {
    "ru": """
        до {{N}}
        по адресу {{N}}
        на сумму {{N}} ₽
        {{N}} в {{M}}
        код получения: {{N}}
        ориентировочно {{N}}
        специалист — {{N}}
        подробности: {{N}}
        номер накладной {{N}}
        с {{N}} по {{M}}
    """,
    "en": """
        until {{N}}
        at {{N}}
        for the amount of {{N}} USD
        on {{N}} at {{M}}
        pickup code: {{N}}
        about {{N}}
        your specialist is {{N}}
        details: {{N}}
        waybill {{N}}
        from {{N}} to {{M}}
    """,
}
ENDINGS = {
    "ru": """
        Спасибо, что выбрали нас!
        Если остались вопросы, ответьте на это сообщение.
        Ждём вас!
        Хорошего дня!
        С уважением, служба поддержки.
        Ваш менеджер {{N}} на связи.
        Ответьте «да» или «нет».
    """,
    "en": """
        Thank you for choosing us!
        Reply to this message if you have questions.
        See you soon!
        Have a nice day!
        Kind regards, support team.
        Your manager {{N}} is here to help.
    """,
}
VALUES = ["Анна", "Анна Сергеевна", "42", "№ 1024-77", "15 мая, 14:30", "Лиговский пр., 50, оф. 3", "1 250", "A-17/3"]


def phrases(lines: Mapping[str, str], language: str) -> list[str]:
    return [line.strip() for line in lines[language].strip().splitlines()]


def make_registry(size: int, seed: int = 1) -> list[TemplateDefinition]:
    """Return templates typical of shops and clinics: shared greetings and endings, 2 to 6 variables, two languages."""
    rng = random.Random(seed)
    combinations = {
        language: list(
            itertools.product(*(phrases(lines, language) for lines in (GREETINGS, SUBJECTS, STATES, DETAILS, ENDINGS)))
        )
        for language in ("ru", "en")
    }
    found: dict[str, TemplateDefinition] = {}
    while len(found) < size:
        number = len(found)
        language = "ru" if rng.random() < 0.7 else "en"
        greeting, subject, state, detail, ending = rng.choice(combinations[language])
        numbers = itertools.count(2 if "{{1}}" in greeting else 1)
        line = f"{subject} {{{{{next(numbers)}}}}} {state}"
        for hole in ("{{N}}", "{{M}}"):
            if hole in detail:
                detail = detail.replace(hole, f"{{{{{next(numbers)}}}}}")
        if "{{N}}" in ending:
            ending = ending.replace("{{N}}", f"{{{{{next(numbers)}}}}}")
        joint = rng.choice([" ", "\n"])
        body = f"{greeting}{joint}{line}, {detail}.{joint}{ending}"
        found.setdefault(
            body,
            TemplateDefinition(
                name=f"t_{number}",
                language=language,
                body=body,
                header=Header(text=f"{subject}: {state}"[:60]) if rng.random() < 0.3 else None,
                footer="Ежедневно с 9 до 21" if rng.random() < 0.3 else "",
            ),
        )
    return list(found.values())


def filled(template: TemplateDefinition, rng: random.Random) -> str:
    rendering = render(template, {variable.key: rng.choice(VALUES) for variable in template.variables})
    return rendering.body if rng.random() < 0.5 else rendering.text


def typical_texts(templates: list[TemplateDefinition], seed: int = 2, size: int = 1000) -> dict[str, list[str]]:
    rng = random.Random(seed)
    chosen = [rng.choice(templates) for _ in range(size)]
    pasted = [filled(template, rng) for template in chosen]
    edited = []
    for text in pasted:
        words = text.split(" ")
        words[rng.randrange(len(words))] = rng.choice(["готово", "завтра", "", "наш", "the"])
        edited.append(" ".join(words))
    chatter = [" ".join(rng.choices(" ".join(pasted[:200]).split(), k=rng.randint(2, 60))) for _ in range(size)]
    return {
        "pasted as it is": pasted,
        "pasted, one word changed": edited,
        "left unedited": [template.body for template in chosen],
        "free text of the same words": chatter,
    }


def worst_case_texts(templates: list[TemplateDefinition], seed: int = 3) -> dict[str, list[str]]:
    """Return expensive texts: maximum length, all fixed parts at once, repeated openings, near matches."""
    rng = random.Random(seed)
    longest = 4096
    bodies = [filled(template, rng) for template in rng.sample(templates, 60)]
    subjects, states = phrases(SUBJECTS, "ru"), phrases(STATES, "ru")
    details = [one.replace("{{N}}", "1").replace("{{M}}", "2") for one in phrases(DETAILS, "ru")]
    everything = " ".join([*subjects, *states, *details]) + ", "
    greeting, ending = "Здравствуйте, Анна! ", ". Спасибо, что выбрали нас!"

    def between(middle: str) -> str:
        room = longest - len(greeting) - len(ending)
        return greeting + (middle * (room // len(middle) + 1))[:room] + ending

    return {
        "one letter": ["а" * longest, "a" * longest, " а" * (longest // 2)],
        "signs": ["," * longest, "{{" * (longest // 2), "{{1}}" * (longest // 5), "!. " * (longest // 3)],
        "openings over and over": [("Здравствуйте, " * longest)[:longest], ("Hello " * longest)[:longest]],
        "all parts between greeting and ending": [between(everything), between(everything[::-1])],
        "states before subjects": [between(" ".join(states + subjects) + ", ")],
        "all parts, a tab in each gap": [between(everything.replace(" ", " \t"))],
        "all parts, on many lines": [between(everything.replace(", ", "\n")), between("\n" + everything)],
        "whole templates in a row": [" ".join(bodies)[:longest], "\n".join(bodies)[:longest], between(bodies[0])],
        "combining marks": ["е\u0308" * (longest // 2), "a" + "\u0323\u0307" * (longest // 2 - 1)],
        "blanks and the invisible": ["\u200b \u00a0" * (longest // 3), "а\u200b" * (longest // 2)],
        "words of all templates": [" ".join(rng.sample(" ".join(bodies).split(), 500))[:longest]],
    }


def adversarial_registries(size: int) -> dict[str, tuple[list[TemplateDefinition], list[str]]]:
    """Return artificial registries whose templates no index can distinguish early."""
    letters = [TemplateDefinition(f"t_{n}", "ru", _holes("а", n % 30 + 2, end=f"б{n}")) for n in range(size)]
    words = [f"слово{n}" for n in range(20)]
    triples = list(itertools.islice(itertools.permutations(words, 3), size))
    shuffled = [
        TemplateDefinition(f"t_{n}", "ru", f"Начало {{{{1}}}} {a} {{{{2}}}} {b} {{{{3}}}} {c} {{{{4}}}} конец")
        for n, (a, b, c) in enumerate(triples)
    ]
    twice = [
        TemplateDefinition(f"t_{n}", "ru", f"Начало {{{{1}}}} а {{{{2}}}} а {{{{1}}}} а {{{{2}}}} {n} к")
        for n in range(size)
    ]
    same = [TemplateDefinition(f"t_{n}", "ru", "Ваш заказ {{1}} готов.") for n in range(size)]
    around = " x ".join(words)
    return {
        "holes between single letters": (letters, ["а" * 4000 + "б1", "аб" * 2000, "а " * 2000 + "б7"]),
        "three of twenty words, any order": (
            shuffled,
            [f"Начало x {around} x конец", f"Начало x {' x '.join(words[::-1])} конец", f"Начало {words[0]} конец"],
        ),
        "three of twenty words, a tab": (shuffled, [f"Начало x {around.replace(' x ', chr(9))} x конец"]),
        "a variable twice": (twice, ["Начало " + "а " * 500 + "7 к", "Начало " + "а б " * 500 + "7 к"]),
        "all of one text": (same, ["Ваш заказ 42 готов.", "Ваш заказ\t42 готов.", "Ваш заказ готово."]),
    }


def _holes(between: str, count: int, *, end: str) -> str:
    return between + between.join(f"{{{{{number}}}}}" for number in range(1, count + 1)) + end


def measure_cpu_ms(action: Callable[[str], object], texts: Iterable[str], repeat: int = 1) -> list[float]:
    """Return CPU milliseconds per text: the best of several runs, to exclude other work on the machine."""
    found = []
    for text in texts:
        best = float("inf")
        for _ in range(repeat):
            begun = time.thread_time()
            action(text)
            best = min(best, time.thread_time() - begun)
        found.append(best * 1000)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--templates", type=int, default=6000)
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    templates = make_registry(options.templates, options.seed)
    gc.disable()
    for title in ("first index", "index after a change"):
        begun = time.thread_time()
        index = MatchIndex(IndexEntry(template) for template in templates)
        print(f"{title:<45} {(time.thread_time() - begun) * 1000:8.0f} ms")
    print(f"\n{'milliseconds per text':<45} {'median':>8} {'p99':>8} {'worst':>8}  outcomes")
    _table(index, typical_texts(templates), repeat=1)
    print()
    _table(index, worst_case_texts(templates), repeat=3)
    for title, (others, texts) in adversarial_registries(options.templates).items():
        _table(MatchIndex(IndexEntry(template) for template in others), {f"[{title}]": texts}, repeat=3)
    print(f"\ntargets: median {MEDIAN} ms, worst {WORST} ms")


def _table(index: MatchIndex, groups: dict[str, list[str]], *, repeat: int) -> None:
    for title, texts in groups.items():
        times = sorted(measure_cpu_ms(index.recognize, texts, repeat))
        outcomes = sorted({index.recognize(text).outcome.value for text in texts})
        p99 = times[int(0.99 * (len(times) - 1))]
        print(f"{title:<45} {statistics.median(times):8.2f} {p99:8.2f} {times[-1]:8.2f}  {', '.join(outcomes)}")


if __name__ == "__main__":
    main()
