// A hospital's own settings: its switch, name, zone and country, and beneath them its reminders.
import { persist, rows, supabase, useDeed } from '../client.js'
import { html } from '../html.js'
import { Field, Note } from './form.js'
import { Rules } from './reminders.js'
import { Switch } from './switch.js'
import { zones } from './zones.js'

export function Hospital({ hospital, rules: known, onChange }) {
  return html`<div class="stack">
    <${Presence} key=${hospital.id} hospital=${hospital} onChange=${onChange} />
    <section class="stack" aria-label="Reminders">
      <h2>Reminders</h2>
      <${Rules} hospital=${hospital} known=${known} onChange=${onChange} />
    </section>
  </div>`
}

// The switch, and how the hospital presents itself.
function Presence({ hospital, onChange }) {
  const deed = useDeed()
  const { settings } = hospital
  const save = (columns, done) =>
    deed
      .run(() => {
        const row = { connection_id: hospital.id, ...columns }
        return persist(() => rows(() => supabase.from('connection_settings').upsert(row).select()))
      }, done)
      .then((went) => went && onChange())
  const submit = (event) => {
    event.preventDefault()
    const given = new FormData(event.target)
    const columns = {
      display_name: given.get('display_name').trim() || null,
      timezone: given.get('timezone'),
      country_code: given.get('country_code').trim().toUpperCase() || null,
    }
    save(columns, 'Saved. What is open follows.')
  }
  const turn = (active) => save({ active }, active ? 'Messages are sent.' : 'Nothing is sent, and nothing new is made.')
  return html`<form class="card stack" aria-label="The hospital" onSubmit=${submit}>
    <${Switch} label="Send this hospital's messages" isOn=${settings?.active ?? true} isBusy=${deed.isBusy} onTurn=${turn} />
    ${settings?.enabled === false && html`<p class="waits">The operator has switched this connection off.</p>`}
    <div class="pair">
      <${Field} label="Name in messages" hint="Stands for {hospital_name} in the texts. Left empty it is ${hospital.connection_name}."><input name="display_name" defaultValue=${settings?.display_name ?? ''} dir="auto" maxlength="200" autocomplete="off" /><//>
      <${Field} label="Time zone"><select name="timezone">${zones(hospital.zone).map((zone) => html`<option value=${zone} selected=${zone === hospital.zone}>${zone}</option>`)}</select><//>
      <${Field} label="Country code" hint="For numbers written without one: IN, BR, GB …"><input name="country_code" defaultValue=${settings?.country_code ?? ''} pattern="[A-Za-z]{2}" maxlength="2" autocomplete="off" /><//>
    </div>
    <${Note} of=${deed} />
    <div class="actions"><button class="primary" disabled=${deed.isBusy}>Save the settings</button></div>
  </form>`
}
