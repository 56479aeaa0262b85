// Texts with places for names, for campaigns, reminders and single messages: listed, written, and shown with example values.
import { rows, rowsOf, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { go } from '../parts/address.js'
import { Dialog, Tabs } from '../parts/dialog.js'
import { Confirm, Note } from '../parts/form.js'
import { KINDS } from '../parts/message-form.js'
import { removeRow } from '../parts/records.js'
import { loadConnections } from '../parts/scheduled.js'
import { patternOf, Search } from '../parts/search.js'
import { Waiting } from '../parts/table.js'
import { languageWords, TemplateForm } from '../parts/template-form.js'
import { Preview } from '../parts/template-preview.js'
import { distance } from '../parts/zones.js'

const SHOWN = 200
const TABS = [
  { key: 'edit', label: 'Edit' },
  { key: 'preview', label: 'Preview' },
]

async function load(search) {
  const words = patternOf(search)
  const [templates, connections] = await Promise.all([
    rows(() => {
      const all = supabase.from('message_templates').select('*')
      const found = words ? all.or(`name.ilike.%${words}%,body.ilike.%${words}%`) : all
      return found.order('name').order('id').limit(SHOWN)
    }),
    loadConnections(),
  ])
  return { templates, connections }
}

function Templates({ rest }) {
  const [search, setSearch] = useState('')
  const [saved, setSaved] = useState(null) // the id of the template that was saved just now
  const live = useLive(() => load(search), [search])
  const [id, tab] = rest
  return html`<div class="bar">
      <${Search} label="Search templates" hint="Name or text" onSearch=${setSearch} />
      <button type="button" class="primary" onClick=${() => go('templates', 'new')}>Make a template</button>
    </div>
    <${Waiting} live=${live} />
    ${live.data && html`<${List} data=${live.data} search=${search} />`}
    ${live.data && id && html`<${Opened} key=${id} id=${id} tab=${tab} connections=${live.data.connections} isSaved=${saved === id} onSaved=${setSaved} onChange=${live.look} />`}`
}

function List({ data, search }) {
  const { templates, connections } = data
  if (!templates.length) {
    const words = search ? 'No template has such a name or text.' : 'No templates yet. Make the first one.'
    return html`<div class="card empty">${words}</div>`
  }
  const names = new Map(connections.map((one) => [one.id, one.name ?? one.id]))
  return html`<div class="cards">
      ${templates.map((one) => html`<${Card} key=${one.id} template=${one} via=${one.connection_id && (names.get(one.connection_id) ?? one.connection_id)} />`)}
    </div>
    ${templates.length === SHOWN && html`<p class="muted">The first ${SHOWN}. Search for the others.</p>`}`
}

function Card({ template, via }) {
  return html`<section class="card template" aria-label=${template.name}>
    <div class="card-head">
      <h2 dir="auto">${template.name}</h2>
      <span class="status">${template.category}</span>
    </div>
    <p class="muted small">${languageWords(template.language)} · ${KINDS[template.type] ?? template.type} · <bdi>${via ?? 'all connections'}</bdi></p>
    ${template.body && html`<p class="text" dir="auto" lang=${template.language.replace('_', '-')}>${template.body}</p>`}
    ${template.cloud && html`<p class="muted small">Through the Cloud API: <bdi>${template.cloud.name}</bdi> (${template.cloud.language})</p>`}
    <p class="muted small">${template.variables.length > 0 && html`Fields: ${template.variables.join(', ')}. `}Changed ${distance(template.updated_at)}.</p>
    <div class="actions">
      <button type="button" class="plain" aria-label=${`Edit ${template.name}`} onClick=${() => go('templates', template.id, 'edit')}>Edit</button>
      <button type="button" class="plain" aria-label=${`Preview ${template.name}`} onClick=${() => go('templates', template.id, 'preview')}>Preview</button>
    </div>
  </section>`
}

// #/templates/new, #/templates/<id>/edit, …/preview. The template need not be in the list that is shown.
function Opened({ id, tab, connections, isSaved, onSaved, onChange }) {
  const isNew = id === 'new'
  const live = useLive(
    () => (isNew ? [] : rowsOf(() => supabase.from('message_templates').select('*').eq('id', id))),
    [id],
  )
  const [template] = live.data ?? []
  if (!live.data && !live.fault) return null
  if (!isNew && !template) {
    const words = live.fault?.message ?? 'There is no such template.'
    return html`<${Dialog} title="Template" onClose=${() => go('templates')}><p class="fault" role="alert">${words}</p><//>`
  }
  const at = !isNew && tab === 'preview' ? 'preview' : 'edit'
  // Whoever goes on with it at once goes on with what was saved.
  const finish = async (row) => {
    await live.look()
    onSaved(row.id)
    go('templates', row.id, 'preview')
  }
  const close = () => {
    onChange()
    go('templates')
  }
  const choose = (key) => {
    onSaved(null)
    go('templates', id, key)
  }
  return html`<${Dialog} title=${isNew ? 'A new template' : html`<bdi>${template.name}</bdi>`} onClose=${close}>
    ${!isNew && html`<${Tabs} label="Template" tabs=${TABS} at=${at} onChoose=${choose} />`}
    <div id="tab-panel" role=${isNew ? undefined : 'tabpanel'} aria-labelledby=${isNew ? undefined : `tab-${at}`}>
      <div role="status">${isSaved && html`<p class="done">Saved. This is what a recipient sees.</p>`}</div>
      ${at === 'preview' && html`<${Preview} template=${template} />`}
      ${at === 'edit' && html`<${TemplateForm} template=${template} connections=${connections} onDone=${finish} />`}
      ${at === 'edit' && template && html`<${Removal} template=${template} onDone=${close} />`}
    </div>
  <//>`
}

function Removal({ template, onDone }) {
  const deed = useDeed()
  const remove = () => deed.run(() => removeRow('message_templates', template)).then((went) => went && onDone())
  return html`<div class="actions apart">
      <${Confirm} label="Delete the template" question="Delete this template?" yes="Yes, delete" isBusy=${deed.isBusy} onYes=${remove} />
    </div>
    <${Note} of=${deed} />`
}

export default { path: 'templates', title: 'Templates', Page: Templates }
