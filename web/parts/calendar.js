// A month as a table, Monday first. Days are texts, '2026-11-26', so that no zone can shift them.
import { html } from '../html.js'

const DAY = 86_400_000
const WEEKDAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']
const date = (day) => new Date(`${day}T00:00Z`)
const dayOf = (time) => (Number.isNaN(time) ? undefined : new Date(time).toISOString().slice(0, 10))

export const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text ?? '') && addDays(text, 0) === text

export const addDays = (day, number) => dayOf(date(day).getTime() + number * DAY)

export function addMonths(month, number) {
  const [year, index] = month.split('-').map(Number)
  return dayOf(Date.UTC(year, index - 1 + number, 1)).slice(0, 7)
}

export const dayWords = (day, options = { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' }) =>
  date(day)
    .toLocaleDateString('en-GB', { ...options, timeZone: 'UTC' })
    .replace(/^(\w+),/, '$1')

export const monthWords = (month) => dayWords(`${month}-01`, { month: 'long', year: 'numeric' })

// The weeks that a month touches, each of seven days.
export function weeksOf(month) {
  const first = `${month}-01`
  const monday = addDays(first, -((date(first).getUTCDay() + 6) % 7))
  const weeks = [...Array(6).keys()].map((week) => [...Array(7).keys()].map((day) => addDays(monday, 7 * week + day)))
  return weeks.filter((week) => week.some((day) => day.startsWith(month)))
}

// `cell(day)` is what stands under the number of a day.
export const Month = ({ month, today, cell }) =>
  html`<table class="month" aria-label=${monthWords(month)}>
    <thead><tr>${WEEKDAYS.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
    <tbody>
      ${weeksOf(month).map(
        (week) =>
          html`<tr>
            ${week.map(
              (day) =>
                html`<td class=${day.startsWith(month) ? '' : 'other'} aria-current=${day === today ? 'date' : undefined}>
                  <span class="day-number">${Number(day.slice(8))}</span>${cell(day)}
                </td>`,
            )}
          </tr>`,
      )}
    </tbody>
  </table>`
