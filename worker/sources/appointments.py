"""Has the numbers judged that appointments write to, long before anything is due; all else they do in the database."""

from worker.sources.numbers import Numbers
from worker.store.appointments import Appointments

AT_ONCE = 1000  # numbers in one call
LOOK_SECONDS = 5.0  # until a number that somebody books with is judged


class AppointmentSource:
    """One pass at a time; what it did not come to is there at the next."""

    def __init__(self, appointments: Appointments, numbers: Numbers) -> None:
        self._appointments, self._numbers = appointments, numbers

    async def advance(self) -> float:
        """One pass. Returns the seconds until the next one is wanted."""
        asked = await self._appointments.numbers_asked(AT_ONCE)
        for country in asked:
            await self._numbers.judge(country.country_code, country.raw)
        return 0.0 if asked else LOOK_SECONDS
