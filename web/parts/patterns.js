// Recurrence patterns in words. What they mean is the daemon's to say (docs/recurrence.md): here they are only offered and read.
const DAYS = {
  MO: 'Monday',
  TU: 'Tuesday',
  WE: 'Wednesday',
  TH: 'Thursday',
  FR: 'Friday',
  SA: 'Saturday',
  SU: 'Sunday',
}
const MONTHS = 'January February March April May June July August September October November December'.split(' ')
const UNITS = { DAILY: 'day', WEEKLY: 'week', MONTHLY: 'month', YEARLY: 'year' }
const ORDINALS = { 1: 'first', 2: 'second', 3: 'third', 4: 'fourth', 5: 'fifth', '-1': 'last', '-2': 'last but one' }

export function nth(number) {
  const ending = { one: 'st', two: 'nd', few: 'rd', other: 'th' }
  return `${number}${ending[new Intl.PluralRules('en', { type: 'ordinal' }).select(number)]}`
}

const list = (words) => new Intl.ListFormat('en-GB').format(words)

function start(wall) {
  const [year, month, day] = wall.slice(0, 10).split('-').map(Number)
  return { month, day, code: Object.keys(DAYS)[(new Date(Date.UTC(year, month - 1, day)).getUTCDay() + 6) % 7] }
}

const dayOfMonth = (day) => `on the ${nth(day)}${day > 28 ? ', or on the last day of a shorter month' : ''}`

// What a form offers for a message that starts at `wall` ('2026-11-26T14:30'): [pattern, words].
export function offers(wall) {
  const { day, code } = start(wall)
  const week = Math.ceil(day / 7)
  const patterns = [
    'daily',
    'weekdays',
    'weekly',
    'RRULE:FREQ=WEEKLY;INTERVAL=2',
    'monthly',
    `RRULE:FREQ=MONTHLY;BYDAY=${week === 5 ? -1 : week}${code}`,
    'RRULE:FREQ=MONTHLY;BYMONTHDAY=-1',
    'yearly',
  ]
  return patterns.map((pattern) => [pattern, inWords(pattern, wall)])
}

// A pattern in words, or as it stands where it says more than we have words for. `wall`: when the series starts.
export function inWords(pattern, wall) {
  const { month, day, code } = start(wall)
  const simple = {
    daily: 'Daily',
    weekdays: 'On weekdays, Monday to Friday',
    weekly: `Weekly, on ${DAYS[code]}`,
    monthly: `Monthly, ${dayOfMonth(day)}`,
    yearly: `Yearly, on ${day} ${MONTHS[month - 1]}`,
  }
  const word = pattern.trim().toLowerCase()
  return simple[word] ?? ruleInWords(pattern, { day, code }) ?? `By the rule ${pattern.trim().replace(/^rrule:/i, '')}`
}

function ruleInWords(pattern, { day, code }) {
  const parts = pattern
    .trim()
    .toUpperCase()
    .replace(/^RRULE:/, '')
    .split(';')
    .filter(Boolean)
  const rule = Object.fromEntries(parts.map((part) => part.split('=')))
  const { FREQ, INTERVAL = '1', BYDAY, BYMONTHDAY, COUNT, UNTIL, WKST, ...others } = rule
  if (!(FREQ in UNITS) || Object.keys(others).length || (BYDAY && BYMONTHDAY) || FREQ === 'YEARLY') return undefined
  const on = BYDAY ? days(BYDAY, FREQ) : BYMONTHDAY ? monthDays(BYMONTHDAY, FREQ) : ofStart(FREQ, day, code)
  if (on === undefined) return undefined
  const often = INTERVAL === '1' ? `Every ${UNITS[FREQ]}` : `Every ${nth(Number(INTERVAL))} ${UNITS[FREQ]}`
  const first = INTERVAL === '2' ? `Every other ${UNITS[FREQ]}` : often
  const end = COUNT ? `, ${COUNT} times` : UNTIL ? `, until ${UNTIL.replace(/^(\d{4})(\d\d)(\d\d).*/, '$1-$2-$3')}` : ''
  return first + (on && ` ${on}`) + end
}

function ofStart(freq, day, code) {
  if (freq === 'WEEKLY') return `on ${DAYS[code]}`
  return freq === 'MONTHLY' ? `on the ${nth(day)}` : ''
}

function days(text, freq) {
  const named = text.split(',').map((part) => part.match(/^([+-]?\d+)?([A-Z]{2})$/))
  if (
    named.some(
      (found) => !found || !DAYS[found[2]] || (found[1] && (freq !== 'MONTHLY' || !ORDINALS[Number(found[1])])),
    )
  ) {
    return undefined
  }
  if (freq === 'MONTHLY' && named.some(([, number]) => !number)) return undefined
  return `on ${list(named.map(([, number, code]) => (number ? `the ${ORDINALS[Number(number)]} ${DAYS[code]}` : DAYS[code])))}`
}

function monthDays(text, freq) {
  const numbers = text.split(',').map(Number)
  if (freq !== 'MONTHLY' || numbers.some((number) => !Number.isInteger(number) || number < -1 || number === 0))
    return undefined
  return `on ${list(numbers.map((number) => (number === -1 ? 'its last day' : `the ${nth(number)}`)))}`
}
