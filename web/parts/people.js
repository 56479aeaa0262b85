// Choosing contacts: search, one, all that were found. `chosen`: [{ id, name }], in the order of choice; `most`: how many fit.
import { rows, supabase, useDeed, useLive } from '../client.js'
import { html, useRef, useState } from '../html.js'
import { Note } from './form.js'
import { Pager } from './pager.js'
import { patternOf, Search } from './search.js'
import { Waiting } from './table.js'

const SIZE = 50

// Contacts of that name or number, by name. `columns` as PostgREST takes them.
export function contactsLike(search, columns) {
  const words = patternOf(search)
  const all = supabase.from('contacts').select(columns)
  const found = words ? all.or(`contact_name.ilike.%${words}%,phone_number.ilike.%${words}%`) : all
  return found.order('contact_name').order('id')
}

const person = (contact) => ({ id: contact.id, name: contact.contact_name || contact.phone_number })

const whyNot = (contact) => (contact.is_blocked ? 'blocked' : !contact.phone_number?.trim() && 'no number')

async function load(search, page) {
  const columns = 'id,contact_name,phone_number,is_blocked'
  const found = await rows(() => contactsLike(search, columns).range(page * SIZE, (page + 1) * SIZE))
  return { shown: found.slice(0, SIZE), hasMore: found.length > SIZE }
}

export function People({ chosen, most, onChange }) {
  const [search, setSearch] = useState('')
  const [page, setPage] = useState(0)
  const live = useLive(() => load(search, page), [search, page], { every: 30 })
  const deed = useDeed()
  const now = useRef(chosen)
  now.current = chosen // also for an answer that was asked for before somebody else was chosen
  const ids = new Set(chosen.map((one) => one.id))
  const room = most - chosen.length
  const toggle = (contact) => (event) =>
    onChange(event.target.checked ? [...chosen, person(contact)] : chosen.filter((one) => one.id !== contact.id))
  const takeAll = () =>
    deed.run(async () => {
      // One more than fits, to say so; the chosen and those who cannot be written to are not among them.
      const columns = 'id,contact_name,phone_number,is_blocked'
      const found = await rows(() => contactsLike(search, columns).not('phone_number', 'is', null).limit(1000))
      const known = new Set(now.current.map((one) => one.id))
      const more = found.filter((one) => !known.has(one.id) && !whyNot(one)).map(person)
      onChange([...now.current, ...more.slice(0, most - now.current.length)])
    })
  return html`<div class="bar">
      <${Search} label="Search contacts" hint="Name or number" onSearch=${(words) => {
        setPage(0)
        setSearch(words)
      }} />
      <button type="button" disabled=${deed.isBusy || room <= 0 || !live.data?.shown.length} onClick=${takeAll}>${search ? 'Select all found' : 'Select all'}</button>
    </div>
    <p role="status"><b>${chosen.length.toLocaleString('en')} of at most ${most.toLocaleString('en')} chosen</b>${room <= 0 && html` <span class="waits">No more fit in.</span>`}</p>
    <${Note} of=${deed} />
    <${Chosen} chosen=${chosen} onChange=${onChange} />
    <${Waiting} live=${live} />
    ${live.data?.shown.length === 0 && html`<div class="card empty">${search ? 'Nobody of that name or number.' : html`No contacts yet. <a href="#/contacts/new">Add the first one.</a>`}</div>`}
    <ul class="people">
      ${live.data?.shown.map((contact) => {
        const why = whyNot(contact)
        const isChosen = ids.has(contact.id)
        return html`<li key=${contact.id}><label class="check">
          <input type="checkbox" checked=${isChosen} disabled=${!isChosen && (Boolean(why) || room <= 0)} onChange=${toggle(contact)} />
          <span class="person"><bdi>${contact.contact_name || 'No name'}</bdi> <bdi class="muted number">${contact.phone_number}</bdi> ${why && html`<span class="status">${why}</span>`}</span>
        </label></li>`
      })}
    </ul>
    <${Pager} label="More contacts" page=${page} hasMore=${live.data?.hasMore} onTurn=${setPage} />`
}

const Chosen = ({ chosen, onChange }) =>
  chosen.length > 0 &&
  html`<details class="chosen">
    <summary>Who is chosen</summary>
    <ul>
      ${chosen.map((one) => html`<li key=${one.id}><bdi>${one.name}</bdi> <button type="button" class="plain icon" aria-label=${`Remove ${one.name}`} onClick=${() => onChange(chosen.filter((other) => other.id !== one.id))}>✕</button></li>`)}
    </ul>
    <button type="button" class="plain" onClick=${() => onChange([])}>Remove all</button>
  </details>`
