// The dialog of one contact: what is scheduled for them, and a form for more.
import { rows, supabase, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { edit, schedule } from './deeds.js'
import { Dialog, Tabs } from './dialog.js'
import { drafts } from './drafts.js'
import { contentOf, MessageForm, newValues, valuesOf } from './message-form.js'
import { MessageLine, zoneOf } from './message-line.js'
import { WAITING } from './status.js'
import { Waiting } from './table.js'
import { When } from './time.js'

const TABS = [
  { key: 'view', label: 'View Messages' },
  { key: 'new', label: 'Create New' },
]
const OVER = 20 // of what is over, the latest

const newOne = (contact) => `draft ${contact.id}`
const editOf = (row) => `edit ${row.id}`

async function loadMessages(contact) {
  const of = () => supabase.from('scheduled_messages').select('*').eq('contact_id', String(contact.id))
  const isWaiting = `(${WAITING.join(',')})`
  const connections = await loadConnections()
  const waiting = await rows(() => of().in('status', WAITING).order('scheduled_at').order('id').limit(100))
  // After it, so that what is sent meanwhile is in both answers and not in neither.
  const over = await rows(() =>
    of().not('status', 'in', isWaiting).order('scheduled_at', { ascending: false }).order('id').limit(OVER),
  )
  const past = new Set(over.map((row) => row.id))
  return { waiting: waiting.filter((row) => !past.has(row.id)), over, connections }
}

export const loadConnections = () =>
  rows(() => supabase.from('connections').select('id,name,phone_number').order('name').limit(200))

// `tab`: which is open; `onTab` puts it into the address, so that a reload comes back to it.
export function Scheduled({ contact, tab, onTab, onClose }) {
  const live = useLive(() => loadMessages(contact), [contact.id], { of: ['scheduled_messages'] })
  const [editing, setEditing] = useState(null)
  const [saved, setSaved] = useState(null)
  // Whoever edits it again at once edits what was saved.
  const finish = async (row) => {
    await live.look()
    setEditing(null)
    setSaved(row)
    onTab('view')
  }
  const choose = (key) => {
    setEditing(null)
    setSaved(null)
    onTab(key)
  }
  const name = contact.contact_name || contact.phone_number
  return html`<${Dialog} title=${html`Scheduled messages for <bdi>${name}</bdi>`} onClose=${onClose}>
    <${Tabs} label="Scheduled messages" tabs=${TABS} at=${tab} onChoose=${choose} />
    <div id="tab-panel" role="tabpanel" aria-labelledby=${`tab-${tab}`}>
      <div role="status">${saved && html`<p class="done">Scheduled for <${When} at=${saved.scheduled_at} zone=${zoneOf(saved)} />.</p>`}</div>
      <${Waiting} live=${live} />
      ${live.data && editing && html`<${Edit} row=${editing} connections=${live.data.connections} onDone=${finish} onBack=${() => setEditing(null)} />`}
      ${live.data && !editing && tab === 'view' && html`<${View} live=${live} onEdit=${setEditing} onNew=${() => choose('new')} />`}
      ${live.data && !editing && tab === 'new' && html`<${Create} contact=${contact} connections=${live.data.connections} onDone=${finish} />`}
    </div>
  <//>`
}

function View({ live, onEdit, onNew }) {
  const { waiting, over, connections } = live.data
  const names = new Map(connections.map((one) => [one.id, one.name ?? one.id]))
  const line = (row) =>
    html`<li key=${row.id}><${MessageLine} row=${row} via=${names.get(row.connection_id) ?? row.connection_id} onEdit=${onEdit} onChange=${live.look} /></li>`
  if (!waiting.length && !over.length) {
    return html`<div class="empty"><p>Nothing is scheduled for this contact yet.</p><button type="button" class="primary" onClick=${onNew}>Create a message</button></div>`
  }
  return html`<ul class="messages">${waiting.map(line)}</ul>
    ${over.length > 0 && html`<h3>Over</h3><ul class="messages">${over.map(line)}</ul>`}
    ${over.length === OVER && html`<p class="muted">The latest ${OVER}. The page Messages has all of them.</p>`}`
}

function Create({ contact, connections, onDone }) {
  const [draft] = useState(
    () => drafts.load(newOne(contact)) ?? { id: crypto.randomUUID(), values: newValues(connections) },
  )
  if (!connections.length) {
    return html`<div class="empty"><p>You have no WhatsApp connection yet.</p><a class="button primary" href="#/connections">To the connections</a></div>`
  }
  const keep = (changes) => drafts.save(newOne(contact), Object.assign(draft, changes))
  const save = async (values) => {
    const content = { ...contentOf(values), contact_id: String(contact.id) }
    const earlier = { id: draft.id, tried: draft.tried }
    keep({ values, tried: content })
    const row = await schedule(earlier, content)
    drafts.clear(newOne(contact))
    await onDone(row)
  }
  return html`<${MessageForm} connections=${connections} initial=${draft.values} label="Schedule Message" onSave=${save} onChange=${(values) => keep({ values })} />`
}

// What was being written counts as long as the message is the one that it was written over.
export function Edit({ row, connections, onDone, onBack }) {
  const [kept] = useState(() => drafts.load(editOf(row)))
  const initial = kept?.revision === row.revision ? kept.values : valuesOf(row)
  const save = async (values) => {
    const changed = await edit(row, { ...contentOf(values, row), contact_id: row.contact_id })
    drafts.clear(editOf(row))
    await onDone(changed)
  }
  const keep = (values) => drafts.save(editOf(row), { values, revision: row.revision })
  const back = () => {
    drafts.clear(editOf(row))
    onBack()
  }
  return html`<h3>Edit the message</h3>
    <${MessageForm} connections=${connections} initial=${initial} label="Save" onSave=${save} onChange=${keep} onCancel=${back} />`
}
