// When something is sent, and how it recurs: for one message and for a campaign.
import { preview } from '../client.js'
import { html, useEffect, useState } from '../html.js'
import { Field } from './form.js'
import { inWords, offers } from './patterns.js'
import { When } from './time.js'
import { hereZone, instantOf, isZone, offsetWords, wallOf, zones } from './zones.js'

const OWN = 'own' // a rule that the author writes
const MINUTE = 60_000

// What a form begins with: in ten minutes, at a full five.
export function newTimes() {
  const soon = new Date(Math.ceil((Date.now() + 10 * MINUTE) / (5 * MINUTE)) * 5 * MINUTE)
  return { ...shown(soon, hereZone), repeats: false, pattern: 'daily', until: '' }
}

// While nobody changes what is shown, it means the instant that it was made of: of a time that comes twice, the second too.
function shown(at, zone) {
  const wall = at ? wallOf(at, zone) : ''
  return { zone, wall, given: { zone, wall, at } }
}

export const instantIn = ({ wall, zone, given }) =>
  given?.wall === wall && given.zone === zone ? new Date(given.at) : instantOf(wall, zone)

export function timesOf(row) {
  const zone = isZone(row.timezone) ? row.timezone : hereZone
  return {
    ...shown(row.scheduled_at, zone),
    repeats: Boolean(row.is_recurring),
    pattern: row.recurrence_pattern ?? 'daily',
    until: row.recurrence_end_at ? wallOf(row.recurrence_end_at, zone).slice(0, 10) : '',
  }
}

// The columns that these values mean. Where nobody touched the time, an edit keeps its seconds.
export function timeColumns(values, before) {
  const kept = before && timesOf(before)
  const isSameTime = kept && kept.wall === values.wall && kept.zone === values.zone
  const isSameEnd = kept && kept.until === values.until && kept.zone === values.zone
  const at = values.wall ? instantIn(values).toISOString() : null
  return {
    scheduled_at: isSameTime ? before.scheduled_at : at,
    timezone: values.zone,
    is_recurring: values.repeats,
    recurrence_pattern: values.repeats ? values.pattern.trim() : null,
    recurrence_end_at: !values.repeats || !values.until ? null : isSameEnd ? before.recurrence_end_at : endOf(values),
  }
}

const endOf = (values) => new Date(instantOf(`${values.until}T23:59`, values.zone).getTime() + 59_000).toISOString()

export const isOver = (values) => values.wall && instantIn(values) < Date.now() - MINUTE

export function Times({ bind, values, isPast }) {
  const isHere = values.zone === hereZone
  const at = values.wall && instantIn(values)
  const isMoved = values.wall && wallOf(at, values.zone) !== values.wall
  return html`<fieldset class="pair">
    <legend class="sr">When</legend>
    <${Field} label="Date and time">
      <input ...${bind('wall')} type="datetime-local" required aria-invalid=${String(Boolean(isPast))} aria-describedby="time-notes" />
    <//>
    <${Field} label="Time zone">
      <select ...${bind('zone')}>
        ${zones(values.zone).map((zone) => html`<option value=${zone}>${zone}${zone === hereZone ? ' (here)' : ''}</option>`)}
      </select>
    <//>
    <div id="time-notes" class="notes" aria-live="polite">
      ${at && html`<p class="muted">${offsetWords(at, values.zone)}${!isHere && html`; here that is <${When} at=${at} />`}</p>`}
      ${isMoved && html`<p class="waits">The clocks leap over this time there: it goes out at <${When} at=${at} zone=${values.zone} />.</p>`}
      ${isPast && html`<p class="fault">This time has passed. Choose a later one.</p>`}
    </div>
  </fieldset>`
}

export function Repetition({ bind, values, set, label = 'Recurring message' }) {
  const start = values.wall || wallOf(Date.now(), values.zone)
  const offered = offers(start)
  const isOwn = values.repeats && !offered.some(([pattern]) => pattern === values.pattern)
  const choose = (event) =>
    set({ pattern: event.target.value === OWN ? 'RRULE:FREQ=WEEKLY;BYDAY=MO,TH' : event.target.value })
  return html`<label class="check">
      <input type="checkbox" checked=${values.repeats} onChange=${(event) => set({ repeats: event.target.checked })} />
      ${label}
    </label>
    ${
      values.repeats &&
      html`<fieldset class="pair">
        <legend class="sr">How it recurs</legend>
        <${Field} label="Pattern">
          <select value=${isOwn ? OWN : values.pattern} onChange=${choose}>
            ${offered.map(([pattern, words]) => html`<option value=${pattern}>${words}</option>`)}
            <option value=${OWN}>A rule of your own</option>
          </select>
        <//>
        <${Field} label="Last day (optional)"><input ...${bind('until')} type="date" min=${start.slice(0, 10)} /><//>
      </fieldset>
      ${isOwn && html`<${Field} label="Rule (RFC 5545)" hint=${inWords(values.pattern, start)}><input ...${bind('pattern')} required maxlength="1024" /><//>`}
      <${Occurrences} values=${values} />`
    }`
}

// The next five, as the daemon reckons them. Asked again a moment after the last change.
function Occurrences({ values }) {
  const { wall, pattern, zone, until } = values
  const [answer, set] = useState({ times: null, fault: null })
  useEffect(() => {
    let isOver = false
    const timer = setTimeout(async () => {
      if (!wall || !pattern.trim()) return
      const question = { start: wall, pattern, timezone: zone, count: 5, ...(until && { end: endOf(values) }) }
      const next = await preview(question).then(
        (times) => ({ times, fault: null }),
        (fault) => ({ times: null, fault }),
      )
      if (!isOver) set(next)
    }, 300)
    return () => {
      isOver = true
      clearTimeout(timer)
    }
  }, [wall, pattern, zone, until])
  if (answer.fault) return html`<p class="waits" role="status">${answer.fault.message}</p>`
  if (!answer.times) return null
  return html`<div class="next" role="status">
    <p>${answer.times.length < 5 ? `It goes out ${answer.times.length === 1 ? 'once' : `${answer.times.length} times`}:` : 'The next five times:'}</p>
    <ol>${answer.times.map((time) => html`<li><${When} at=${time} zone=${zone} /></li>`)}</ol>
  </div>`
}
