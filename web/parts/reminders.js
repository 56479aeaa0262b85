// A connection's reminder rules: when each speaks, its text, and an example of it.
import { persist, rows, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { Confirm, Note } from './form.js'
import { change, removeRow } from './records.js'
import { RuleDialog } from './rule-dialog.js'
import { LANGUAGES, ruleWords } from './rules.js'
import { Switch } from './switch.js'
import { Waiting } from './table.js'

// The rules of a connection, in the order of their numbers, each with its text.
export async function loadRules(connection) {
  const found = await rows(() =>
    supabase.from('reminder_rules').select('*').eq('connection_id', connection).order('number').limit(200),
  )
  const ids = [...new Set(found.map((rule) => rule.template_id))]
  const texts = ids.length ? await rows(() => supabase.from('message_templates').select('*').in('id', ids)) : []
  const byId = new Map(texts.map((text) => [text.id, text]))
  return found.map((rule) => ({ ...rule, template: byId.get(rule.template_id) }))
}

// Document 003's three, in one call; a second one makes nothing twice.
const setUp = (connection) => persist(() => rows(() => supabase.rpc('set_up_reminders', { connection_id: connection })))

// An appointment's day and time, and its follow-up's, as the text's language writes them.
function exampleTimes(language) {
  if (!LANGUAGES.includes(language.slice(0, 2)))
    return { date: '2030-02-10', time: '10:30', followup_date: '2030-02-17' }
  const words = (at, style) =>
    new Intl.DateTimeFormat(`${language.replace('_', '-')}-u-nu-latn`, { ...style, timeZone: 'UTC' })
      .format(new Date(at))
      .replaceAll('\u202f', ' ')
  return {
    date: words('2030-02-10', { dateStyle: 'long' }),
    time: words('2030-02-10T10:30Z', { timeStyle: 'short' }),
    followup_date: words('2030-02-17', { dateStyle: 'long' }),
  }
}

// What the seven names stand for in an example.
const exampleValues = (hospital, language) => ({
  patient_name: 'Rahul Sharma',
  doctor_name: 'Mehta',
  specialty: 'Ortho',
  hospital_name: hospital.name,
  ...exampleTimes(language),
})

async function loadExamples(hospital, known) {
  const asked = known.filter((rule) => rule.template)
  const answers = await Promise.all(
    asked.map((rule) => {
      const variables = exampleValues(hospital, rule.template.language)
      return rows(() => supabase.rpc('render_template', { template_id: rule.template_id, variables }))
    }),
  )
  return new Map(asked.map((rule, n) => [rule.template_id, answers[n][0]]))
}

export function Rules({ hospital, known, onChange }) {
  const [editing, edit] = useState(null)
  const versions = known.map(({ template }) => `${template?.id} ${template?.version}`).join()
  const live = useLive(() => loadExamples(hospital, known), [hospital.id, hospital.name, versions], { every: 60 })
  return html`${known.length === 0 ? html`<${SetUp} hospital=${hospital} onChange=${onChange} />` : html`<${Waiting} live=${live} />`}
    ${
      known.length > 0 &&
      html`<ul class="messages rules" aria-label="Rules">
      ${known.map((rule) => html`<li key=${rule.id}><${Rule} rule=${rule} example=${live.data?.get(rule.template_id)} onEdit=${() => edit(rule)} onChange=${onChange} /></li>`)}
    </ul>`
    }
    <div class="actions"><button type="button" onClick=${() => edit({})}>Add a reminder</button></div>
    ${editing && html`<${RuleDialog} rule=${editing} hospital=${hospital} onClose=${() => edit(null)} onChange=${onChange} />`}`
}

export function SetUp({ hospital, onChange }) {
  const deed = useDeed()
  const run = () => deed.run(() => setUp(hospital.id), 'The three are set up.').then((went) => went && onChange())
  return html`<div class="card empty">
    <p>No reminders are set up here: appointments cause no messages.</p>
    <button type="button" class="primary" disabled=${deed.isBusy} onClick=${run}>Set up confirmation, reminder and follow-up</button>
    <${Note} of=${deed} />
  </div>`
}

function Rule({ rule, example, onEdit, onChange }) {
  const deed = useDeed()
  const run = (what) => deed.run(what).then((went) => went && onChange())
  const { template } = rule
  return html`<article class="message" aria-label=${rule.name}>
    <div class="message-head">
      <h3 dir="auto">${rule.name}</h3>
      <span class="muted">${ruleWords(rule)}${rule.when_past === 'now' && '; at once where that is past'}</span>
    </div>
    <div class="message-body">
      ${template && html`<p class="text muted" dir="auto">${template.body}</p>`}
      ${example && html`<p class="example text" dir="auto">${example.text}</p>`}
      ${example?.missing?.length > 0 && html`<p class="waits">From the appointment itself: {${example.missing.join('}, {')}}</p>`}
      <${Note} of=${deed} />
    </div>
    <div class="message-actions">
      <${Switch} label="On" isOn=${rule.enabled} isBusy=${deed.isBusy} onTurn=${(enabled) => run(() => change('reminder_rules', [], rule, { enabled }))} />
      <button type="button" class="plain" onClick=${onEdit}>Edit</button>
      <${Confirm} label="Delete" question="Delete this reminder, and what it has open?" yes="Yes, delete" isBusy=${deed.isBusy} onYes=${() => run(() => removeRow('reminder_rules', rule))} />
    </div>
  </article>`
}
