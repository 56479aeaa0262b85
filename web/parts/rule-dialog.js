// The dialog of one reminder rule and its text.
import { useDeed } from '../client.js'
import { html, useState } from '../html.js'
import { Dialog } from './dialog.js'
import { drafts } from './drafts.js'
import { Field, Note, useForm } from './form.js'
import { change, create } from './records.js'
import { ANCHOR_WORDS, columnsOf, LANGUAGES, ruleWords, timingOf, UNITS } from './rules.js'
import { languageWords } from './template-form.js'

const NEW = { name: '', when_past: 'skip', anchor: 'date', day_offset: -1, at: '10:00', shift: null }

// Under the id of a draft, which remembers what it has sent.
async function createFrom(draft, table, content) {
  const earlier = { ...draft }
  draft.tried = content
  return await create(table, ['updated_at'], earlier, content)
}

const seen = ({ id, version }) => ({ id, version })

// The text first, then the rule that names it: either may be written again when its answer was lost. Where the rule is refused,
// the text that was written before it is the author's own, and no longer the one that the dialog was opened with.
async function save({ rule, hospital, draft, text, columns }) {
  const own = { connection_id: hospital.id, name: columns.name }
  const template = draft.template
    ? await change('message_templates', ['version'], draft.template, text)
    : await createFrom(draft.text, 'message_templates', { ...text, ...own })
  if (draft.template) draft.template = seen(template)
  if (rule.id) return await change('reminder_rules', ['updated_at'], rule, columns)
  const added = { ...columns, connection_id: hospital.id, template_id: template.id }
  return await createFrom(draft.rule, 'reminder_rules', added)
}

function begin(rule) {
  const { name, when_past, ...timing } = rule.id ? rule : NEW
  const { template } = rule
  return {
    text: { id: crypto.randomUUID() },
    rule: { id: crypto.randomUUID() },
    template: template && seen(template),
    values: {
      ...timingOf(timing),
      name,
      now: when_past === 'now',
      body: template?.body ?? '',
      language: template?.language ?? 'en',
    },
  }
}

// What nobody touched keeps the form that somebody else may have given it: a day is not always 24 hours.
function movedTo(values, rule) {
  const columns = columnsOf(values)
  return rule.id && JSON.stringify(columns) === JSON.stringify(columnsOf(timingOf(rule))) ? {} : columns
}

// What was being written counts as long as the text is the one that it was written over.
function load(key, rule) {
  const kept = drafts.load(key)
  return kept && kept.template?.version === rule.template?.version ? kept : begin(rule)
}

export function RuleDialog({ rule, hospital, onClose, onChange }) {
  const key = `rule ${rule.id ?? hospital.id}`
  const deed = useDeed()
  const [draft] = useState(() => load(key, rule))
  const { values, set, bind } = useForm(draft.values, (changed) =>
    drafts.save(key, Object.assign(draft, { values: changed })),
  )
  const submit = async (event) => {
    event.preventDefault()
    const { name, now, body, language } = values
    const columns = { ...movedTo(values, rule), name: name.trim(), when_past: now ? 'now' : 'skip' }
    if (!(await deed.run(() => save({ rule, hospital, draft, text: { body, language }, columns }))))
      return drafts.save(key, draft)
    drafts.clear(key)
    await onChange()
    onClose()
  }
  const languages = [...new Set([...LANGUAGES, values.language])]
  return html`<${Dialog} title=${rule.id ? 'Edit the reminder' : 'Add a reminder'} onClose=${onClose}>
    <form class="stack" onSubmit=${submit}>
      <${Field} label="Name"><input ...${bind('name')} dir="auto" required maxlength="200" autocomplete="off" /><//>
      ${values.isOwn ? html`<p class="muted">${ruleWords(rule)}</p>` : html`<${Timing} bind=${bind} values=${values} />`}
      <label class="check"><input type="checkbox" checked=${values.now} onChange=${(event) => set({ now: event.target.checked })} />At once, where its time is past when the appointment is booked or moved</label>
      <${Field} label="Text" hint="{patient_name} {doctor_name} {date} {time} {followup_date} {hospital_name} {specialty}, and names of your own">
        <textarea ...${bind('body')} rows="5" dir="auto" required></textarea>
      <//>
      <${Field} label="Language" hint="Dates and times are written as its people do">
        <select ...${bind('language')}>${languages.map((one) => html`<option value=${one}>${languageWords(one)}</option>`)}</select>
      <//>
      <${Note} of=${deed} />
      <div class="actions"><button class="primary" disabled=${deed.isBusy}>Save</button></div>
    </form>
  <//>`
}

function Timing({ bind, values }) {
  return html`<fieldset class="pair">
    <legend class="sr">When it goes out</legend>
    <${Field} label="How many"><input type="number" min="0" max="366" required ...${bind('number')} /><//>
    <${Field} label="Unit"><select ...${bind('unit')}>${UNITS.map((unit) => html`<option value=${unit}>${unit}</option>`)}</select><//>
    <${Field} label="Before or after"><select ...${bind('side')}><option value="before">before</option><option value="after">after</option></select><//>
    <${Field} label="Of what"><select ...${bind('anchor')}>${ANCHOR_WORDS.map(([anchor, words]) => html`<option value=${anchor}>${words}</option>`)}</select><//>
    ${values.unit === 'days' && html`<${Field} label="Time of day" hint="Empty: the same as the booking's or the appointment's"><input type="time" ...${bind('at')} /><//>`}
    <p class="notes muted" aria-live="polite">${ruleWords(columnsOf(values))}</p>
  </fieldset>`
}
