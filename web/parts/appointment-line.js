// One appointment in a list: when, who, how it stands, what the desk may do with it, and beneath it the messages that it causes.
import { useDeed } from '../client.js'
import { html } from '../html.js'
import { dayWords } from './calendar.js'
import { cancel, sendAgain } from './deeds.js'
import { Confirm, Note } from './form.js'
import { change, removeRow } from './records.js'
import { Reason, Status } from './status.js'
import { When } from './time.js'
import { distance, isZone } from './zones.js'

const WORDS = { booked: 'booked', visited: 'visited', cancelled: 'cancelled', no_show: 'did not come' }
const SHORT = { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' }

// `zone`: the hospital's; `names`: of its rules by number; `onOpen(row, what)` opens a dialog; `isDated`: with the day.
export function AppointmentLine({ row, zone, names, contact, messages, isDated, onOpen, onChange }) {
  const deed = useDeed()
  const run = (deedOf, done) => deed.run(deedOf, done).then((went) => went && onChange())
  const set = (columns, done) => run(() => change('appointments', ['updated_at'], row, columns), done)
  const who = row.patient_name || contact?.contact_name || 'Nobody named'
  const number = contact ? contact.phone_number : row.mobile
  const doctor = [row.doctor_name && `Dr ${row.doctor_name}`, row.specialty].filter(Boolean).join(', ')
  return html`<article class="message wide" aria-label=${`Appointment of ${who}, ${WORDS[row.status]}`}>
    <div class="message-head">
      <span class=${`status ${row.status}`}>${WORDS[row.status]}</span>
      <b>${isDated && `${dayWords(row.date, SHORT)}, `}${row.time.slice(0, 5)}</b>
      ${row.timezone && row.timezone !== zone && html`<span class="zone">${row.timezone}</span>`}
      <b><bdi>${who}</bdi></b>
      ${doctor && html`<span class="muted" dir="auto">${doctor}</span>`}
      ${number && html`<bdi class="muted">${number}</bdi>`}
    </div>
    <div class="message-body">
      ${row.followup_date && html`<p class="muted">Follow-up on ${dayWords(row.followup_date, SHORT)}</p>`}
      ${row.reminder_fault && html`<p class="fault">${row.reminder_fault}</p>`}
      ${
        messages.length > 0 &&
        html`<ul class="reminders" aria-label="Messages">
          ${messages.map((message) => html`<${Reminder} key=${message.id} row=${message} name=${names.get(message.source_position)} zone=${zone} onChange=${onChange} />`)}
        </ul>`
      }
      ${messages.length === 0 && !row.reminder_fault && html`<p class="muted">It causes no messages.</p>`}
      <${Note} of=${deed} />
    </div>
    <div class="message-actions">
      ${
        row.status === 'booked'
          ? html`<button type="button" class="plain" onClick=${() => onOpen(row, 'visited')}>Visited</button>
            <button type="button" class="plain" onClick=${() => onOpen(row, 'move')}>Move</button>
            <button type="button" class="plain" disabled=${deed.isBusy} onClick=${() => set({ status: 'no_show' })}>Did not come</button>
            <${Confirm} label="Cancel" question="Cancel this appointment?" yes="Yes, cancel" isBusy=${deed.isBusy} onYes=${() => set({ status: 'cancelled' })} />`
          : html`<button type="button" class="plain" disabled=${deed.isBusy} onClick=${() => set({ status: 'booked' })}>Book again</button>
            <${Confirm} label="Delete" question="Delete this appointment?" yes="Yes, delete" isBusy=${deed.isBusy} onYes=${() => run(() => removeRow('appointments', row))} />`
      }
      <button type="button" class="plain" onClick=${() => onOpen(row, 'edit')}>Edit</button>
    </div>
  </article>`
}

// A message by the name of its rule. Its time is the rule's to say: here it is only kept back, or sent after all where it failed
// or somebody kept it back; what ended with its appointment or its rule has a reason, and comes back with them.
function Reminder({ row, name, zone, onChange }) {
  const deed = useDeed()
  const run = (what) => deed.run(() => what(row)).then((went) => went && onChange())
  const shown = isZone(row.timezone) ? row.timezone : zone
  const text = row.message || row.caption
  const isCancelled = row.status === 'cancelled'
  const mayBeSent = row.status === 'failed' || (isCancelled && !row.error)
  return html`<li>
    <div class="reminder-head">
      <${Status} row=${row} />
      <span>${name ?? `Reminder ${row.source_position}`}${row.source_try > 0 && `, ${row.source_try + 1}`}</span>
      <${When} at=${row.sent_at ?? row.scheduled_at} zone=${shown} />
      ${row.status === 'pending' && html`<span class="muted">${distance(row.scheduled_at)}</span>`}
      ${isCancelled && row.error && html`<span class="muted">${row.error}</span>`}
      ${row.status === 'pending' && html`<button type="button" class="plain" disabled=${deed.isBusy} onClick=${() => run(cancel)}>Do not send</button>`}
      ${mayBeSent && html`<button type="button" class="plain" disabled=${deed.isBusy} onClick=${() => run(sendAgain)}>Send after all</button>`}
      ${text && html`<details><summary>Text</summary><p class="text" dir="auto">${text}</p></details>`}
    </div>
    ${!isCancelled && html`<${Reason} row=${row} />`}
    <${Note} of=${deed} />
  </li>`
}
