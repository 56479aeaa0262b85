// The form of a template, for a new one and for an edit.
import { rows, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { CloudTemplate, cloudOf, namesOfCloud, noCloud, valuesOfCloud } from './cloud-template.js'
import { drafts } from './drafts.js'
import { Field, Note, useForm } from './form.js'
import { Attachment, KindField } from './message-form.js'
import { placesIn, valuesOf } from './places.js'
import { change, create } from './records.js'
import { Waiting } from './table.js'

const TABLE = 'message_templates'
// Offered; any other code may be written.
const LANGUAGES = 'en en_GB en_US ar bn de es fr gu hi id it kn ml mr pa pt_BR pt_PT ru sw ta te tr ur zh_CN'.split(' ')

export function languageWords(code) {
  try {
    return new Intl.DisplayNames('en', { type: 'language' }).of(code.replace('_', '-'))
  } catch {
    return code
  }
}

const newTemplate = {
  name: '',
  connection_id: '',
  language: 'en',
  category: 'utility',
  type: 'text',
  body: '',
  media_url: '',
  defaults: {},
  on_missing: 'fault',
  cloud: noCloud,
}

// Of the text, and of the approved template that stands for it.
const namesOf = (values) => [...new Set([...placesIn(values.body), ...namesOfCloud(cloudOf(values.cloud))])]

const valuesOfRow = (row) => ({
  ...Object.fromEntries(Object.keys(newTemplate).map((name) => [name, row[name] ?? ''])),
  defaults: valuesOf(row.defaults),
  cloud: valuesOfCloud(row.cloud),
})

function contentOf(values, before) {
  const names = namesOf(values)
  const defaults = Object.entries(valuesOf(values.defaults)).filter(([name]) => names.includes(name))
  return {
    name: values.name.trim(),
    connection_id: values.connection_id || null,
    language: values.language.trim(),
    category: values.category,
    type: values.type,
    body: values.body,
    media_url: values.type === 'text' ? null : values.media_url.trim() || null,
    defaults: Object.fromEntries(defaults),
    on_missing: values.on_missing,
    cloud: cloudOf(values.cloud, before?.cloud),
  }
}

// What is kept in the tab while somebody writes; of an edit as long as the template is the one that it was begun with.
function beginning(row) {
  const key = `template ${row?.id ?? 'new'}`
  const kept = drafts.load(key)
  if (kept && kept.mark === row?.updated_at) return { key, ...kept, values: { ...newTemplate, ...kept.values } }
  return {
    key,
    id: row?.id ?? crypto.randomUUID(),
    mark: row?.updated_at,
    values: row ? valuesOfRow(row) : newTemplate,
  }
}

export function TemplateForm({ template, connections, onDone }) {
  const [row] = useState(template) // as its author saw it, whatever others make of it meanwhile
  const [draft] = useState(() => beginning(row))
  const keep = (changes) => {
    const { key, ...kept } = Object.assign(draft, changes)
    drafts.save(key, kept)
  }
  const { values, setIn, bind } = useForm(draft.values, (changed) => keep({ values: changed }))
  const approved = useLive(
    () => rows(() => supabase.rpc('approved_templates', { connection_id: values.connection_id || null })),
    [values.connection_id],
    { every: null },
  )
  const deed = useDeed()
  const save = async () => {
    const content = contentOf(values, row)
    const earlier = { id: draft.id, tried: draft.tried }
    keep({ tried: content })
    const saved = row
      ? await change(TABLE, ['updated_at'], row, content)
      : await create(TABLE, ['updated_at'], earlier, content)
    drafts.clear(draft.key)
    await onDone(saved)
  }
  const submit = (event) => {
    event.preventDefault()
    deed.run(save)
  }
  return html`<form class="stack" onSubmit=${submit}>
    <${Field} label="Name"><input ...${bind('name')} dir="auto" required maxlength="200" autocomplete="off" /><//>
    <fieldset class="pair">
      <legend class="sr">What it is</legend>
      <${Field} label="Category" hint="Marketing: offers and greetings. Utility: what the recipient waits for.">
        <select ...${bind('category')}><option value="utility">Utility</option><option value="marketing">Marketing</option></select>
      <//>
      <${Field} label="Language" hint=${`A code such as en, hi or pt_BR: ${languageWords(values.language) ?? ''}`}>
        <input ...${bind('language')} list="languages" required pattern="[a-z]{2,3}([_\\-][A-Za-z]{2,4})?" autocomplete="off" />
      <//>
      <datalist id="languages">${LANGUAGES.map((code) => html`<option value=${code}>${languageWords(code)}</option>`)}</datalist>
      <${Field} label="For">
        <select ...${bind('connection_id')}>
          <option value="">All of my connections</option>
          ${connections.map((one) => html`<option value=${one.id}>${one.name ?? one.id}</option>`)}
          ${values.connection_id && !connections.some((one) => one.id === values.connection_id) && html`<option value=${values.connection_id}>${values.connection_id}</option>`}
        </select>
      <//>
      <${KindField} bind=${bind} kind=${values.type} />
    </fieldset>
    ${values.type !== 'text' && html`<${Attachment} bind=${bind} caption="body" />`}
    ${
      values.type === 'text' &&
      html`<${Field} label="Text" hint="{name} is a place that each recipient's own value fills; so is {doctor_name}, or any name of yours.">
        <textarea ...${bind('body')} rows="5" dir="auto" required></textarea>
      <//>`
    }
    <${Waiting} live=${approved} />
    ${approved.data && html`<${CloudTemplate} values=${values.cloud} set=${setIn('cloud')} approved=${approved.data} names=${placesIn(values.body)} hasFile=${values.type !== 'text'} />`}
    <${Defaults} values=${values} fill=${setIn('defaults')} bind=${bind} />
    <${Note} of=${deed} />
    <div class="actions"><button class="primary" disabled=${deed.isBusy}>${deed.isBusy ? 'Saving …' : 'Save'}</button></div>
  </form>`
}

function Defaults({ values, fill, bind }) {
  const names = namesOf(values)
  if (!names.length) return null
  return html`<fieldset class="stack">
    <legend>What its fields are without a value of the recipient</legend>
    <div class="pair">
      ${names.map((name) => html`<${Field} key=${name} label=${`{${name}}`}><input name=${`default ${name}`} dir="auto" value=${values.defaults[name] ?? ''} onInput=${(event) => fill({ [name]: event.target.value })} autocomplete="off" /><//>`)}
    </div>
    <${Field} label="A field that has no value at all">
      <select ...${bind('on_missing')}>
        <option value="fault">is a fault: that recipient gets nothing</option>
        <option value="blank">is left blank</option>
      </select>
    <//>
  </fieldset>`
}
