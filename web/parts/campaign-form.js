// The form of a campaign: what, to whom, when. It is kept as a draft, or scheduled at once.
import { rows, rowsOf, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { Audience, audienceOf, newAudience, valuesOfAudience } from './audience.js'
import { campaigns } from './campaigns.js'
import { namesOfCloud } from './cloud-template.js'
import { drafts } from './drafts.js'
import { Field, Note, useForm } from './form.js'
import { Attachment, ConnectionField, KindField } from './message-form.js'
import { placeOf, placesIn, valuesOf as valuesOfNames } from './places.js'
import { change, create } from './records.js'
import { loadConnections } from './scheduled.js'
import { Waiting } from './table.js'
import { Bubble } from './template-preview.js'
import { isOver, newTimes, Repetition, Times, timeColumns, timesOf } from './times.js'

const MARKS = ['revision', 'updated_at']

const newCampaign = (connections) => ({
  name: '',
  connection_id: connections.length === 1 ? connections[0].id : '',
  template_id: '',
  type: 'text',
  message: '',
  media_url: '',
  caption: '',
  variables: {},
  max_recipients: '',
  at_daily_limit: 'defer',
  zone_of: 'campaign',
  ...newTimes(),
  audience: newAudience,
})

const valuesOf = async (row) => ({
  ...Object.fromEntries(
    Object.keys(newCampaign([]))
      .filter((name) => name in row)
      .map((name) => [name, row[name] ?? '']),
  ),
  variables: valuesOfNames(row.variables),
  ...timesOf(row),
  audience: await valuesOfAudience(row.audience),
})

function contentOf(values, before) {
  const isText = values.type === 'text' && !values.template_id
  const isFile = values.type !== 'text' && !values.template_id
  return {
    name: values.name.trim(),
    connection_id: values.connection_id,
    template_id: values.template_id || null,
    type: isFile ? values.type : 'text',
    message: isText ? values.message : '',
    media_url: isFile ? values.media_url.trim() || null : null,
    caption: isFile ? values.caption || null : null,
    variables: valuesOfNames(values.variables),
    audience: audienceOf(values.audience, before?.audience),
    max_recipients: values.max_recipients ? Number(values.max_recipients) : null,
    at_daily_limit: values.at_daily_limit,
    zone_of: values.zone_of,
    ...timeColumns(values, before),
  }
}

// What the form needs beside the campaign: connections, templates, and which fields contacts fill in themselves.
async function load(id) {
  const [connections, templates, [contact], [row]] = await Promise.all([
    loadConnections(),
    rows(() => supabase.from('message_templates').select('*').order('name').limit(1000)),
    rows(() => supabase.from('contacts').select('*').limit(1)),
    id ? rowsOf(() => campaigns().select('*').eq('id', id)) : [undefined],
  ])
  const own = Object.keys(contact ?? { contact_name: '' }).map((name) =>
    name === 'contact_name' ? 'name' : placeOf(name),
  )
  return { connections, templates, own, row, values: row ? await valuesOf(row) : newCampaign(connections) }
}

// `id`: of the campaign to be edited; without it a new one is made.
export function CampaignForm({ id, onDone }) {
  const live = useLive(() => load(id), [id], { every: null })
  if (!live.data) return html`<${Waiting} live=${live} />`
  if (id && !live.data.row) return html`<p class="fault" role="alert">There is no such campaign.</p>`
  if (!live.data.connections.length) {
    return html`<div class="card empty"><p>You have no WhatsApp connection yet.</p><a class="button primary" href="#/connections">To the connections</a></div>`
  }
  return html`<${Form} data=${live.data} onDone=${onDone} />`
}

// What was being written, as long as the campaign is as it was then.
function beginning({ row, values }) {
  const key = `campaign ${row?.id ?? 'new'}`
  const mark = row && MARKS.map((name) => row[name]).join(' ')
  const kept = drafts.load(key)
  if (kept && kept.mark === mark) return { key, ...kept }
  return { key, id: crypto.randomUUID(), mark, values }
}

// A series whose first time is over goes on at its next one.
function isUntouched(values, row) {
  const kept = row?.next_run_at && timesOf(row)
  return Boolean(kept) && kept.wall === values.wall && kept.zone === values.zone
}

function Form({ data, onDone }) {
  const { row, connections, templates } = data
  const [draft] = useState(() => beginning(data))
  const keep = (changes) => {
    const { key, ...kept } = Object.assign(draft, changes)
    drafts.save(key, kept)
  }
  const { values, set, setIn, bind } = useForm(draft.values, (changed) => keep({ values: changed }))
  const deed = useDeed()
  const isPast = isOver(values) && !isUntouched(values, row)
  const save = async (status) => {
    const content = { ...contentOf(values, row), ...(status && { status }) }
    const earlier = { id: draft.id, tried: draft.tried }
    keep({ tried: content })
    const saved = row
      ? await change('campaigns', MARKS, row, content)
      : await create('campaigns', MARKS, earlier, content)
    drafts.clear(draft.key)
    onDone(saved)
  }
  const submit = (event) => {
    event.preventDefault()
    const isScheduling = event.submitter?.value === 'scheduled'
    if (isPast && isScheduling) return
    deed.run(() => save(isScheduling ? 'scheduled' : row ? undefined : 'draft'))
  }
  const usable = templates.filter((one) => !one.connection_id || one.connection_id === values.connection_id)
  const template = templates.find((one) => one.id === values.template_id)
  return html`<form class="stack card" onSubmit=${submit}>
    <h3>What</h3>
    <${Field} label="Campaign name"><input ...${bind('name')} dir="auto" required maxlength="200" autocomplete="off" /><//>
    <fieldset class="pair">
      <legend class="sr">Through what, and which text</legend>
      <${ConnectionField} bind=${bind} connections=${connections} chosen=${values.connection_id} />
      <${Field} label="Template">
        <select ...${bind('template_id')}>
          <option value="">None: a text of its own</option>
          ${usable.map((one) => html`<option value=${one.id}>${one.name}</option>`)}
          ${values.template_id && !usable.some((one) => one.id === values.template_id) && html`<option value=${values.template_id}>${template?.name ?? 'A template that is no longer there'}</option>`}
        </select>
      <//>
    </fieldset>
    ${template ? html`<${Bubble} text=${template.body} type=${template.type} media_url=${template.media_url} language=${template.language} />` : html`<${OwnText} values=${values} bind=${bind} />`}
    <${Fields} values=${values} fill=${setIn('variables')} template=${template} own=${data.own} />
    <h3>To whom</h3>
    <${Audience} values=${values.audience} set=${setIn('audience')} />
    <${Field} label="At most so many recipients (optional)"><input ...${bind('max_recipients')} type="number" min="1" step="1" inputmode="numeric" /><//>
    <h3>When</h3>
    <${Times} bind=${bind} values=${values} isPast=${isPast} />
    <${Repetition} bind=${bind} values=${values} set=${set} label="Recurring campaign" />
    <${Choices} bind=${bind} />
    <${Note} of=${deed} />
    <div class="actions">
      ${row?.status !== 'scheduled' && html`<button class="primary" value="scheduled" disabled=${deed.isBusy}>Schedule Campaign</button>`}
      <button class=${row?.status === 'scheduled' ? 'primary' : ''} disabled=${deed.isBusy}>${row && row.status !== 'draft' ? 'Save' : 'Save as draft'}</button>
    </div>
  </form>`
}

const OwnText = ({ values, bind }) =>
  html`<${KindField} bind=${bind} kind=${values.type} />
    ${
      values.type === 'text'
        ? html`<${Field} label="Message" hint="{name} is a place that each recipient's own name fills."><textarea ...${bind('message')} rows="4" dir="auto" required></textarea><//>`
        : html`<${Attachment} bind=${bind} />`
    }`

const Choices = ({ bind }) =>
  html`<fieldset class="pair">
    <legend class="sr">Whose clock, and what at the daily limit</legend>
    <${Field} label="The time is meant">
      <select ...${bind('zone_of')}><option value="campaign">in the zone above, for everybody</option><option value="recipient">in each recipient's own zone</option></select>
    <//>
    <${Field} label="At the connection's daily limit">
      <select ...${bind('at_daily_limit')}><option value="defer">the rest waits for the next day</option><option value="fail">it fails, and sends nothing</option></select>
    <//>
  </fieldset>`

// The values that all recipients share, for each place of the text. A recipient's own come first.
function Fields({ values, fill, template, own }) {
  const text = template ? template.body : values.type === 'text' ? values.message : values.caption
  const names = [...new Set([...placesIn(text), ...namesOfCloud(template?.cloud)])]
  if (!names.length) return null
  const defaults = valuesOfNames(template?.defaults)
  const hintOf = (name) => {
    if (values.audience.by !== 'numbers' && own.includes(name)) return "Each contact's own; this where there is none."
    if (name in defaults) return `Without one: ${defaults[name]}`
    return template?.on_missing === 'blank' ? 'Without one it is left blank.' : 'The same for everybody.'
  }
  return html`<fieldset class="pair">
    <legend>Fields</legend>
    ${names.map((name) => html`<${Field} key=${name} label=${`{${name}}`} hint=${hintOf(name)}><input name=${`field ${name}`} dir="auto" value=${values.variables[name] ?? ''} onInput=${(event) => fill({ [name]: event.target.value })} autocomplete="off" /><//>`)}
  </fieldset>`
}
