// Document 001's page: everybody whom one may write to, with the clock that opens what is scheduled for them.
import { persist, Refusal, rows, rowsOf, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { go } from '../parts/address.js'
import { Dialog } from '../parts/dialog.js'
import { Confirm, Field, Note } from '../parts/form.js'
import { Pager } from '../parts/pager.js'
import { contactsLike } from '../parts/people.js'
import { change, removeRow } from '../parts/records.js'
import { Scheduled } from '../parts/scheduled.js'
import { Search } from '../parts/search.js'
import { WAITING } from '../parts/status.js'
import { Table, Waiting } from '../parts/table.js'

const SIZE = 50 // contacts on a page
const COUNTED = 1000 // of what is scheduled for them: a server may give no more rows

const contacts = () => supabase.from('contacts')

async function load(search, page) {
  const columns = 'id,contact_name,phone_number,is_blocked,labels,notes'
  // one more: is there a next page?
  const found = await rows(() => contactsLike(search, columns).range(page * SIZE, (page + 1) * SIZE))
  const shown = found.slice(0, SIZE)
  const ids = shown.map((contact) => String(contact.id))
  const waiting = await rows(() =>
    supabase.from('scheduled_messages').select('contact_id').in('contact_id', ids).in('status', WAITING).limit(COUNTED),
  )
  const counts = {}
  for (const { contact_id } of waiting) counts[contact_id] = (counts[contact_id] ?? 0) + 1
  return { shown, hasMore: found.length > SIZE, counts, isCut: waiting.length === COUNTED }
}

// #/contacts/new, or one of them.
function Contacts({ rest }) {
  const [search, setSearch] = useState('')
  const [page, setPage] = useState(0)
  const live = useLive(() => load(search, page), [search, page], { of: ['scheduled_messages'] })
  const [id, tab] = rest
  const close = () => go('contacts')
  return html`<div class="bar">
      <${Search} label="Search contacts" hint="Name or number" onSearch=${(words) => {
        setPage(0)
        setSearch(words)
      }} />
      <button type="button" class="primary" onClick=${() => go('contacts', 'new')}>Add a contact</button>
    </div>
    <${Waiting} live=${live} />
    ${live.data && html`<${Table} label="Contacts" columns=${columns(live.data)} rows=${live.data.shown} empty=${search ? 'Nobody of that name or number.' : 'No contacts yet. Add the first one.'} />`}
    <${Pager} label="More contacts" page=${page} hasMore=${live.data?.hasMore} onTurn=${setPage} />
    ${id === 'new' && html`<${ContactDialog} title="Add a contact" contact=${{}} onClose=${close} onChange=${live.look} />`}
    ${id && id !== 'new' && html`<${Opened} key=${id} id=${id} tab=${tab} onClose=${close} onChange=${live.look} />`}`
}

function columns({ counts, isCut }) {
  return [
    {
      title: 'Contact',
      cell: (
        contact,
      ) => html`<button type="button" class="link" onClick=${() => go('contacts', contact.id, 'edit')}><bdi>${contact.contact_name || 'No name'}</bdi></button>
        <span class="muted number">${contact.phone_number}</span>
        ${contact.is_blocked && html`<span class="status failed">blocked</span>`}`,
    },
    {
      title: 'Scheduled',
      className: 'end',
      cell: (contact) => {
        const number = `${counts[contact.id] ?? 0}${isCut && counts[contact.id] ? '+' : ''}`
        const label = `Scheduled messages for ${contact.contact_name || contact.phone_number}: ${number}`
        return html`<button type="button" class="clock" aria-label=${label} title=${label} onClick=${() => go('contacts', contact.id, 'view')}><${Clock} />${number !== '0' && html`<b>${number}</b>`}</button>`
      },
    },
  ]
}

const Clock = () =>
  html`<svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><circle cx="12" cy="12" r="9" /><path d="M12 7v5l3 2" /></svg>`

// What the address names: #/contacts/12/view, …/new, …/edit. The contact need not be on the page that is shown.
function Opened({ id, tab, onClose, onChange }) {
  const live = useLive(
    () => rowsOf(() => contacts().select('id,contact_name,phone_number,is_blocked,labels,notes').eq('id', id)),
    [id],
  )
  const [contact] = live.data ?? []
  if (!live.data && !live.fault) return null
  if (!contact) {
    return html`<${Dialog} title="Contact" onClose=${onClose}><p class="fault" role="alert">${live.fault?.message ?? 'There is no such contact.'}</p><//>`
  }
  if (tab === 'edit')
    return html`<${ContactDialog} title="Edit the contact" contact=${contact} onClose=${onClose} onChange=${onChange} />`
  return html`<${Scheduled} contact=${contact} tab=${tab === 'new' ? 'new' : 'view'} onTab=${(key) => go('contacts', id, key)} onClose=${() => {
    onChange()
    onClose()
  }} />`
}

// The database numbers contacts itself, so a lost answer is looked for by what was written.
async function saveContact(contact, values, since) {
  if (contact.id) return await change('contacts', [], contact, values)
  return await persist(async () => {
    if (since.at) {
      const found = await rows(() =>
        contacts()
          .select('id')
          .eq('phone_number', values.phone_number)
          .eq('contact_name', values.contact_name)
          .gte('created_at', since.at),
      )
      if (found.length) return found
    }
    since.at ??= new Date(Date.now() - 600_000).toISOString() // the clocks of two machines
    return await rows(() => contacts().insert(values).select())
  })
}

const labelsIn = (text) => [
  ...new Set(
    text
      .split(',')
      .map((label) => label.trim())
      .filter(Boolean),
  ),
]

function ContactDialog({ title, contact, onClose, onChange }) {
  const deed = useDeed()
  const [since] = useState({ at: undefined })
  const finish = (went) => {
    if (!went) return
    onChange()
    onClose()
  }
  const submit = (event) => {
    event.preventDefault()
    const given = new FormData(event.target)
    const values = {
      contact_name: given.get('name').trim(),
      phone_number: given.get('number').trim(),
      is_blocked: given.has('blocked'),
      labels: labelsIn(given.get('labels')),
    }
    if (values.phone_number.length > 20)
      return deed.run(() => Promise.reject(new Refusal('The number is too long: at most 20 characters.')))
    deed.run(() => saveContact(contact, values, since)).then(finish)
  }
  const remove = () => deed.run(() => removeRow('contacts', contact)).then(finish)
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <form class="stack" onSubmit=${submit}>
      <${Field} label="Name"><input name="name" defaultValue=${contact.contact_name ?? ''} dir="auto" required autocomplete="off" /><//>
      <${Field} label="WhatsApp number" hint="With the country code: +91 98765 43210"><input name="number" type="tel" defaultValue=${contact.phone_number ?? ''} required autocomplete="off" /><//>
      <${Field} label="Labels" hint="Separated by commas. Campaigns choose their recipients by them."><input name="labels" dir="auto" defaultValue=${(contact.labels ?? []).join(', ')} autocomplete="off" /><//>
      <label class="check"><input type="checkbox" name="blocked" defaultChecked=${Boolean(contact.is_blocked)} />Blocked: nothing is sent to this contact</label>
      <${Note} of=${deed} />
      <div class="actions">
        <button class="primary" disabled=${deed.isBusy}>Save</button>
        ${contact.id && html`<${Confirm} label="Delete" question="Delete this contact?" yes="Yes, delete" isBusy=${deed.isBusy} onYes=${remove} />`}
      </div>
    </form>
  <//>`
}

export default { path: 'contacts', title: 'Contacts', Page: Contacts }
