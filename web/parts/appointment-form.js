// The form of one appointment, to book it and to edit it.
import { useDeed } from '../client.js'
import { html } from '../html.js'
import { Field, Note, useForm } from './form.js'
import { When } from './time.js'
import { hereZone, instantOf, wallOf, zones } from './zones.js'

// What an appointment's own columns, the connection and the calendar fill in; other names come from `variables`.
const KNOWN = ['patient_name', 'doctor_name', 'specialty', 'date', 'time', 'followup_date', 'hospital_name']

// The other names that the hospital's texts ask for.
export const namesAsked = (rules) =>
  [...new Set(rules.filter((rule) => rule.enabled).flatMap((rule) => rule.template?.variables ?? []))].filter(
    (name) => !KNOWN.includes(name),
  )

export const newValues = (day) => ({
  patient_name: '',
  mobile: '',
  date: day,
  time: '10:00',
  zone: '',
  doctor_name: '',
  specialty: '',
  followup_date: '',
  variables: {},
})

export const valuesOf = (row) => ({
  patient_name: row.patient_name ?? '',
  mobile: row.mobile ?? '',
  date: row.date,
  time: row.time.slice(0, 5),
  zone: row.timezone ?? '',
  doctor_name: row.doctor_name ?? '',
  specialty: row.specialty ?? '',
  followup_date: row.followup_date ?? '',
  variables: row.variables,
})

export const contentOf = ({ zone, variables, ...values }) => ({
  ...Object.fromEntries(Object.entries(values).map(([name, value]) => [name, value.trim() || null])),
  time: `${values.time}:00`,
  timezone: zone || null,
  variables: Object.fromEntries(Object.entries(variables).filter(([, value]) => String(value).trim())),
})

// `onSave(values)` writes them; `onChange(values)` hears of every change. `asked`: further names that the texts need.
export function AppointmentForm({ initial, zone, asked, label, hasFollowUp, onSave, onChange }) {
  const { values, setIn, bind } = useForm(initial, onChange)
  const deed = useDeed()
  const submit = (event) => {
    event.preventDefault()
    deed.run(() => onSave(values))
  }
  const variable = (name) => ({
    value: values.variables[name] ?? '',
    onInput: (event) => setIn('variables')({ [name]: event.target.value }),
  })
  const names = [...new Set([...asked, ...Object.keys(values.variables)])]
  return html`<form class="stack" onSubmit=${submit}>
    <div class="pair">
      <${Field} label="Patient"><input ...${bind('patient_name')} dir="auto" required maxlength="256" autocomplete="off" /><//>
      <${Field} label="Mobile number" hint="Without a country code it is the hospital's"><input ...${bind('mobile')} type="tel" maxlength="64" autocomplete="off" /><//>
      <${Field} label="Doctor" hint="The texts say “Dr” before it"><input ...${bind('doctor_name')} dir="auto" maxlength="256" /><//>
      <${Field} label="Specialty (optional)"><input ...${bind('specialty')} dir="auto" maxlength="256" /><//>
    </div>
    <${DateAndTime} bind=${bind} values=${values} zone=${zone} />
    ${hasFollowUp && html`<${Field} label="Follow-up date (optional)"><input ...${bind('followup_date')} type="date" /><//>`}
    ${names.length > 0 && html`<div class="pair">${names.map((name) => html`<${Field} key=${name} label=${name.replaceAll('_', ' ')}><input ...${variable(name)} dir="auto" maxlength="1000" /><//>`)}</div>`}
    <${Note} of=${deed} />
    <div class="actions"><button class="primary" disabled=${deed.isBusy}>${deed.isBusy ? 'Saving …' : label}</button></div>
  </form>`
}

// `zone`: the hospital's, which counts where the appointment has none of its own.
export function DateAndTime({ bind, values, zone }) {
  const shown = values.zone || zone
  const wall = values.date && values.time && `${values.date}T${values.time}`
  const at = wall && instantOf(wall, shown)
  const isMoved = wall && wallOf(at, shown) !== wall
  return html`<fieldset class="pair">
    <legend class="sr">When</legend>
    <${Field} label="Date"><input ...${bind('date')} type="date" required /><//>
    <${Field} label="Time"><input ...${bind('time')} type="time" required /><//>
    <${Field} label="Time zone">
      <select ...${bind('zone')}>
        <option value="">The hospital's: ${zone}</option>
        ${zones(values.zone).map((one) => html`<option value=${one}>${one}</option>`)}
      </select>
    <//>
    <div class="notes" aria-live="polite">
      ${at && shown !== hereZone && html`<p class="muted">Here that is <${When} at=${at} /></p>`}
      ${isMoved && html`<p class="waits">The clocks leap over this time there: it begins at <${When} at=${at} zone=${shown} />.</p>`}
      ${at < Date.now() && html`<p class="waits">This time has passed: nothing reminds of it.</p>`}
    </div>
  </fieldset>`
}
