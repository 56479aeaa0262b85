// The form of one message, for a new one and for an edit.
import { preview, useDeed } from '../client.js'
import { html, useEffect, useState } from '../html.js'
import { Field, Note } from './form.js'
import { inWords, offers } from './patterns.js'
import { When } from './time.js'
import { hereZone, instantOf, isZone, offsetWords, wallOf, zones } from './zones.js'

const KINDS = { text: 'Text', image: 'Picture', video: 'Video', audio: 'Audio', document: 'Document', media: 'File' }
const OWN = 'own' // a rule that the author writes
const MINUTE = 60_000

// What a form begins with: in ten minutes, at a full five.
export function newValues(connections) {
  const soon = new Date(Math.ceil((Date.now() + 10 * MINUTE) / (5 * MINUTE)) * 5 * MINUTE)
  return {
    connection_id: connections.length === 1 ? connections[0].id : '',
    type: 'text',
    message: '',
    media_url: '',
    caption: '',
    zone: hereZone,
    wall: wallOf(soon, hereZone),
    repeats: false,
    pattern: 'daily',
    until: '',
  }
}

export function valuesOf(row) {
  const zone = isZone(row.timezone) ? row.timezone : hereZone
  return {
    connection_id: row.connection_id,
    type: ['', 'chat'].includes(row.type) ? 'text' : row.type,
    message: row.message,
    media_url: row.media_url ?? '',
    caption: row.caption ?? '',
    zone,
    wall: wallOf(row.scheduled_at, zone),
    repeats: Boolean(row.is_recurring),
    pattern: row.recurrence_pattern ?? 'daily',
    until: row.recurrence_end_at ? wallOf(row.recurrence_end_at, zone).slice(0, 10) : '',
  }
}

// The columns that these values mean. Where nobody touched the time, an edit keeps its seconds.
export function contentOf(values, before) {
  const isText = values.type === 'text'
  const kept = before && valuesOf(before)
  const isSameTime = kept && kept.wall === values.wall && kept.zone === values.zone
  const isSameEnd = kept && kept.until === values.until && kept.zone === values.zone
  return {
    connection_id: values.connection_id,
    type: before && kept.type === values.type ? before.type : values.type,
    message: isText || before?.message ? values.message : '',
    media_url: isText ? null : values.media_url.trim() || null,
    caption: isText ? null : values.caption || null,
    scheduled_at: isSameTime ? before.scheduled_at : instantOf(values.wall, values.zone).toISOString(),
    timezone: values.zone,
    is_recurring: values.repeats,
    recurrence_pattern: values.repeats ? values.pattern.trim() : null,
    recurrence_end_at: !values.repeats || !values.until ? null : isSameEnd ? before.recurrence_end_at : endOf(values),
  }
}

const endOf = (values) => new Date(instantOf(`${values.until}T23:59`, values.zone).getTime() + 59_000).toISOString()

// `onSave(values)` writes them; `onChange(values)` hears of every change.
export function MessageForm({ connections, initial, label, onSave, onChange, onCancel, mayBePast = false }) {
  const [values, setValues] = useState(initial)
  const deed = useDeed()
  const set = (changes) => {
    const next = { ...values, ...changes }
    setValues(next)
    onChange?.(next)
  }
  const bind = (name) => ({ name, value: values[name], onInput: (event) => set({ [name]: event.target.value }) })
  const isPast = values.wall && instantOf(values.wall, values.zone) < Date.now() - MINUTE
  const submit = (event) => {
    event.preventDefault()
    if (!isPast || mayBePast) deed.run(() => onSave(values))
  }
  return html`<form class="stack" onSubmit=${submit}>
    <${Field} label="WhatsApp connection">
      <select ...${bind('connection_id')} required>
        ${values.connection_id === '' && html`<option value="">Choose one</option>`}
        ${connections.map((one) => html`<option value=${one.id}>${one.name ?? one.id}${one.phone_number && ` (${one.phone_number})`}</option>`)}
        ${values.connection_id && !connections.some((one) => one.id === values.connection_id) && html`<option value=${values.connection_id}>${values.connection_id}</option>`}
      </select>
    <//>
    <${Field} label="Kind">
      <select ...${bind('type')}>
        ${[...new Set([...Object.keys(KINDS), values.type])].map((kind) => html`<option value=${kind}>${KINDS[kind] ?? kind}</option>`)}
      </select>
    <//>
    ${values.type === 'text' ? html`<${Field} label="Message"><textarea ...${bind('message')} rows="4" dir="auto" required></textarea><//>` : html`<${Attachment} bind=${bind} />`}
    <${Times} bind=${bind} values=${values} isPast=${isPast && !mayBePast} />
    <${Repetition} bind=${bind} values=${values} set=${set} />
    <${Note} of=${deed} />
    <div class="actions">
      <button class="primary" disabled=${deed.isBusy}>${deed.isBusy ? 'Saving …' : label}</button>
      ${onCancel && html`<button type="button" class="plain" onClick=${onCancel}>Back</button>`}
    </div>
  </form>`
}

const Attachment = ({ bind }) =>
  html`<${Field} label="Link to the file" hint="https://…, reachable from the Internet">
      <input ...${bind('media_url')} type="url" required />
    <//>
    <${Field} label="Caption"><textarea ...${bind('caption')} rows="2" dir="auto"></textarea><//>`

function Times({ bind, values, isPast }) {
  const isHere = values.zone === hereZone
  const at = values.wall && instantOf(values.wall, values.zone)
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

function Repetition({ bind, values, set }) {
  const start = values.wall || wallOf(Date.now(), values.zone)
  const offered = offers(start)
  const isOwn = values.repeats && !offered.some(([pattern]) => pattern === values.pattern)
  const choose = (event) =>
    set({ pattern: event.target.value === OWN ? 'RRULE:FREQ=WEEKLY;BYDAY=MO,TH' : event.target.value })
  return html`<label class="check">
      <input type="checkbox" checked=${values.repeats} onChange=${(event) => set({ repeats: event.target.checked })} />
      Recurring message
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
