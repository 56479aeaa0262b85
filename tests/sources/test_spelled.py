"""{date} and {time} as people of a language write them, against a second implementation of the CLDR: Node's ICU."""

import json
import subprocess

import pytest

from local.api import NODE
from tests.sources.hospital import CONFIRMATION

LANGUAGES = ("en", "hi", "es", "pt", "fr", "de", "it", "ar", "id", "tr")
# By release 48; the database has 47's.
SPELLED_ANEW = {"अक्टूबर": "अक्तूबर"}
IN_NODE = """
const [days, times, languages] = JSON.parse(process.argv[1])
const all = {}
for (const language of languages) {
  const words = (at, style) => new Intl.DateTimeFormat(`${language}-u-nu-latn`, { ...style, timeZone: 'UTC' })
    .format(new Date(at)).replaceAll('\\u202f', ' ')
  all[language] = [days.map((day) => words(day, { dateStyle: 'long' })),
    times.map((time) => words(`2030-01-01T${time}Z`, { timeStyle: 'short' }))]
}
console.log(JSON.stringify(all))
"""


def test_dates_and_times_are_written_as_the_cldr_says(db):
    days = [f"2030-{month:02}-{day:02}" for month in range(1, 13) for day in (1, 9, 10, 28)]
    times = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in (0, 5, 59)]
    asked = json.dumps([days, times, LANGUAGES])
    done = subprocess.run([NODE, "-e", IN_NODE, asked], capture_output=True, text=True, check=True)
    expected = json.loads(done.stdout)

    for row in db.execute(
        """
        select words.language,
            (select array_agg(private.spell_date(date_pattern, months, day::date) order by n)
                from unnest(%s::text[]) with ordinality as given (day, n)) as days,
            (select array_agg(private.spell_time(time_pattern, before_noon, after_noon, clock::time) order by n)
                from unnest(%s::text[]) with ordinality as given (clock, n)) as times
        from private.date_words as words
        """,
        (days, times),
    ).fetchall():
        dates, clocks = expected.pop(row["language"])
        for old, new in SPELLED_ANEW.items():
            dates = [text.replace(old, new) for text in dates]
        assert (row["language"], row["days"], row["times"]) == (row["language"], dates, clocks)
    assert expected == {}


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("hi", "10 फ़रवरी 2030, 3:30 pm"),
        ("pt_BR", "10 de fevereiro de 2030, 15:30"),
        ("en-GB", "February 10, 2030, 3:30 PM"),
        ("sw", "2030-02-10, 15:30"),
    ],
)
def test_a_text_has_them_in_its_own_language(hospital, language, text):
    hospital.set_text(CONFIRMATION, body="{date}, {time}", language=language)

    appointment = hospital.book(date="2030-02-10", time="15:30")

    assert hospital.message(appointment, CONFIRMATION)["message"] == text
