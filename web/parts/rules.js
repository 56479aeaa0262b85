// When a reminder rule speaks: in words, and as a form has it. What it means is the database's to say (docs/appointments.md).
const ANCHORS = { booked: 'the booking', date: 'the appointment', followup_date: 'the follow-up date' }
export const ANCHOR_WORDS = Object.entries(ANCHORS)
// Those for which the database knows how dates and times are written; it writes the others as ISO 8601.
export const LANGUAGES = ['en', 'hi', 'es', 'pt', 'fr', 'de', 'it', 'ar', 'id', 'tr']
export const UNITS = ['days', 'hours', 'minutes']
const MINUTES = { days: 1440, hours: 60, minutes: 1 }

const many = (number, unit) => `${number} ${number === 1 ? unit.slice(0, -1) : unit}`

// The minutes of an interval as PostgreSQL writes it: '-02:00:00', '1 day 00:30:00'.
function minutesOf(interval) {
  const days = Number(interval?.match(/(-?\d+) days?/)?.[1] ?? 0)
  const [, sign, hours, minutes] = interval?.match(/(-?)(\d+):(\d\d):\d\d/) ?? ['', '', '0', '0']
  return 1440 * days + (sign ? -1 : 1) * (60 * Number(hours) + Number(minutes))
}

function span(minutes) {
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60]
  return [hours && many(hours, 'hours'), rest && many(rest, 'minutes')].filter(Boolean).join(' ')
}

const beside = (number, words) => `${words} ${number < 0 ? 'before' : 'after'}`

export function ruleWords({ anchor, day_offset: days, at, shift }) {
  const minutes = minutesOf(shift)
  if (!days && !at && anchor !== 'followup_date') {
    if (minutes) return `${beside(minutes, span(Math.abs(minutes)))} ${ANCHORS[anchor]}`
    return anchor === 'booked' ? 'At once, when it is booked' : 'When the appointment begins'
  }
  const one = days === -1 ? 'The day before' : days === 1 ? 'The day after' : null
  const day = days ? (one ?? beside(days, many(Math.abs(days), 'days'))) : 'On the day of'
  const name = !days && anchor === 'followup_date' ? 'On the follow-up date' : `${day} ${ANCHORS[anchor]}`
  const time = at?.slice(0, 5) ?? (anchor === 'followup_date' ? '09:00' : null)
  const shifted = minutes ? `, ${beside(minutes, span(Math.abs(minutes)))} that` : ''
  return `${name}, ${time ? `at ${time}` : 'at the same time of day'}${shifted}`
}

// A rule as a form has it. One that counts both days and hours (isOwn) has its time from elsewhere, and keeps it.
export function timingOf({ anchor, day_offset: days, at, shift }) {
  const minutes = minutesOf(shift)
  const unit = !minutes ? 'days' : minutes % 60 ? 'minutes' : 'hours'
  const number = minutes ? minutes / MINUTES[unit] : days
  return {
    anchor,
    unit,
    number: Math.abs(number),
    side: number > 0 ? 'after' : 'before',
    at: at?.slice(0, 5) ?? '',
    isOwn: Boolean(minutes && (days || at)),
  }
}

// An interval is written as PostgreSQL gives it back, so that what was stored can be compared with it.
function intervalOf(minutes) {
  const parts = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60, 0]
  return `${minutes < 0 ? '-' : ''}${parts.map((part) => String(part).padStart(2, '0')).join(':')}`
}

export function columnsOf({ anchor, unit, number, side, at, isOwn }) {
  if (isOwn) return {}
  const signed = (side === 'before' ? -1 : 1) * Number(number)
  if (unit === 'days') return { anchor, day_offset: signed || 0, at: at ? `${at}:00` : null, shift: null }
  return { anchor, day_offset: 0, at: null, shift: signed ? intervalOf(signed * MINUTES[unit]) : null }
}
