// Times on the wall of a zone, and back.
// Browsers keep some names that the IANA database has replaced; people and the daemon know the new ones.
const RENAMED = {
  'America/Buenos_Aires': 'America/Argentina/Buenos_Aires',
  'America/Godthab': 'America/Nuuk',
  'America/Indianapolis': 'America/Indiana/Indianapolis',
  'America/Louisville': 'America/Kentucky/Louisville',
  'Asia/Calcutta': 'Asia/Kolkata',
  'Asia/Katmandu': 'Asia/Kathmandu',
  'Asia/Rangoon': 'Asia/Yangon',
  'Asia/Saigon': 'Asia/Ho_Chi_Minh',
  'Atlantic/Faeroe': 'Atlantic/Faroe',
  'Europe/Kiev': 'Europe/Kyiv',
  'Pacific/Enderbury': 'Pacific/Kanton',
  'Pacific/Ponape': 'Pacific/Pohnpei',
  'Pacific/Truk': 'Pacific/Chuuk',
}
const current = (zone) => RENAMED[zone] ?? zone

export const hereZone = current(Intl.DateTimeFormat().resolvedOptions().timeZone)
const DAY = 86_400_000
const formats = new Map()

function format(zone, options) {
  const key = zone + JSON.stringify(options)
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat('en-GB', { ...options, timeZone: zone }))
  return formats.get(key)
}

// Whether the browser knows the zone: a row may name one that is newer than its browser.
export function isZone(zone) {
  try {
    return Boolean(zone && format(zone, {}))
  } catch {
    return false
  }
}

// Every zone, with the browser's own and UTC, which some browsers leave out.
export function zones(...others) {
  return [
    ...new Set([...Intl.supportedValuesOf('timeZone').map(current), 'UTC', hereZone, ...others.filter(isZone)]),
  ].sort()
}

// '2026-11-26T14:30' of an instant in a zone.
export function wallOf(instant, zone) {
  const parts = format(zone, {
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(new Date(instant))
  const part = Object.fromEntries(parts.map(({ type, value }) => [type, value]))
  return `${part.year.padStart(4, '0')}-${part.month}-${part.day}T${part.hour}:${part.minute}`
}

const asUtc = (wall) => Date.parse(`${wall}Z`)
const offset = (instant, zone) => asUtc(wallOf(instant, zone)) - Math.floor(instant / 60_000) * 60_000

// The instant of a time on the wall, as the daemon takes it (docs/recurrence.md): of two the first; one that the clocks
// leap over is as much later as they leap.
export function instantOf(wall, zone) {
  const utc = asUtc(wall)
  const [before, after] = [utc - DAY, utc + DAY].map((near) => utc - offset(near, zone))
  const right = [before, after].filter((instant) => wallOf(instant, zone) === wall)
  return new Date(right.length ? Math.min(...right) : before)
}

// Whether the wall has shown this time before: the clocks were set back between.
export const isSecond = (instant, zone) =>
  instantOf(wallOf(instant, zone), zone) < Math.floor(new Date(instant) / 60_000) * 60_000

// 'GMT+5:30' at that instant.
export const offsetWords = (instant, zone) =>
  format(zone, { timeZoneName: 'shortOffset' })
    .formatToParts(new Date(instant))
    .find(({ type }) => type === 'timeZoneName').value

const DATE = { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' }
const TIME = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }

export const dateWords = (instant, zone) =>
  format(zone, DATE)
    .format(new Date(instant))
    .replace(/^(\w+),/, '$1')
export const timeWords = (instant, zone) => format(zone, TIME).format(new Date(instant))

const STEPS = [
  [60, 'second'],
  [60, 'minute'],
  [24, 'hour'],
  [30, 'day'],
  [12, 'month'],
  [Number.POSITIVE_INFINITY, 'year'],
]
const relative = new Intl.RelativeTimeFormat('en-GB', { numeric: 'auto' })

// 'in 5 minutes', '2 days ago'.
export function distance(instant, now = Date.now()) {
  let number = (new Date(instant) - now) / 1000
  for (const [size, unit] of STEPS) {
    if (Math.abs(number) < size) return relative.format(Math.round(number), unit)
    number /= size
  }
}
