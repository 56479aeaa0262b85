// The dialogs of one appointment: to book or edit it, to move it, and what the doctor says after the visit.
import { useDeed } from '../client.js'
import { html, useState } from '../html.js'
import { AppointmentForm, contentOf, DateAndTime, namesAsked, newValues, valuesOf } from './appointment-form.js'
import { addDays } from './calendar.js'
import { Dialog } from './dialog.js'
import { drafts } from './drafts.js'
import { Field, Note, useForm } from './form.js'
import { change, create } from './records.js'

// The dialog over the list. `what`: book, edit, move or visited.
export function Opened({ what, row, hospital, day, today, rules, onClose, onChange }) {
  const finish = () => {
    onChange()
    onClose()
  }
  const save = async (columns) => {
    await change('appointments', ['updated_at'], row, columns)
    onChange()
  }
  if (what === 'move') return html`<${MoveDialog} row=${row} zone=${hospital.zone} onSave=${save} onClose=${onClose} />`
  if (what === 'visited') return html`<${VisitedDialog} row=${row} today=${today} onSave=${save} onClose=${onClose} />`
  if (what === 'book')
    return html`<${Book} hospital=${hospital} day=${day} asked=${namesAsked(rules)} onDone=${finish} onClose=${onClose} />`
  return html`<${Edit} row=${row} hospital=${hospital} asked=${namesAsked(rules)} onDone=${finish} onClose=${onClose} />`
}

function Book({ hospital, day, asked, onDone, onClose }) {
  const key = `appointment ${hospital.id}`
  const [draft] = useState(() => drafts.load(key) ?? { id: crypto.randomUUID(), values: newValues(day) })
  const keep = (changes) => drafts.save(key, Object.assign(draft, changes))
  const save = async (values) => {
    const columns = { ...contentOf(values), connection_id: hospital.id }
    const earlier = { id: draft.id, tried: draft.tried }
    keep({ values, tried: columns })
    await create('appointments', ['updated_at'], earlier, columns)
    drafts.clear(key)
    onDone()
  }
  return html`<${Dialog} title="Book an appointment" onClose=${onClose}>
    <${AppointmentForm} initial=${draft.values} zone=${hospital.zone} asked=${asked} label="Book" onSave=${save} onChange=${(values) => keep({ values })} />
  <//>`
}

function Edit({ row, hospital, asked, onDone, onClose }) {
  const key = `edit ${row.id}`
  const [kept] = useState(() => drafts.load(key))
  const initial = kept?.updated_at === row.updated_at ? kept.values : valuesOf(row)
  const save = async (values) => {
    await change('appointments', ['updated_at'], row, contentOf(values))
    drafts.clear(key)
    onDone()
  }
  const keep = (values) => drafts.save(key, { values, updated_at: row.updated_at })
  return html`<${Dialog} title=${html`Edit <bdi>${row.patient_name}</bdi>`} onClose=${onClose}>
    <${AppointmentForm} initial=${initial} zone=${hospital.zone} asked=${asked} label="Save" hasFollowUp onSave=${save} onChange=${keep} />
  <//>`
}

function MoveDialog({ row, zone, onSave, onClose }) {
  const deed = useDeed()
  const { values, bind } = useForm(valuesOf(row))
  const submit = (event) => {
    event.preventDefault()
    const { date, time, timezone } = contentOf(values)
    deed.run(() => onSave({ date, time, timezone })).then((went) => went && onClose())
  }
  return html`<${Dialog} title=${html`Move <bdi>${row.patient_name}</bdi>`} onClose=${onClose}>
    <form class="stack" onSubmit=${submit}>
      <${DateAndTime} bind=${bind} values=${values} zone=${zone} />
      <p class="muted">What waits goes along and says the new time.</p>
      <${Note} of=${deed} />
      <div class="actions"><button class="primary" disabled=${deed.isBusy}>Move</button></div>
    </form>
  <//>`
}

const AHEAD = [
  [7, 'In a week'],
  [14, 'In two weeks'],
  [30, 'In 30 days'],
]

function VisitedDialog({ row, today, onSave, onClose }) {
  const deed = useDeed()
  const [date, set] = useState(row.followup_date ?? '')
  const submit = (event) => {
    event.preventDefault()
    deed.run(() => onSave({ status: 'visited', followup_date: date || null })).then((went) => went && onClose())
  }
  return html`<${Dialog} title=${html`<bdi>${row.patient_name}</bdi> was here`} onClose=${onClose}>
    <form class="stack" onSubmit=${submit}>
      <${Field} label="Follow-up date (optional)" hint="Its reminder goes out on that day">
        <input type="date" value=${date} onInput=${(event) => set(event.target.value)} />
      <//>
      <div class="actions" role="group" aria-label="Follow-up date">
        ${AHEAD.map(([days, words]) => html`<button type="button" class="plain" onClick=${() => set(addDays(today, days))}>${words}</button>`)}
      </div>
      <${Note} of=${deed} />
      <div class="actions"><button class="primary" disabled=${deed.isBusy}>Mark as visited</button></div>
    </form>
  <//>`
}
