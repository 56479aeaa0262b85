// Document 003's desk: a hospital's day, and beneath each appointment the messages that it causes, and when.
import { ask, count, rows, supabase, useLive } from '../client.js'
import { html, useEffect, useState } from '../html.js'
import { go, hrefOf } from '../parts/address.js'
import { Opened } from '../parts/appointment-dialogs.js'
import { AppointmentLine } from '../parts/appointment-line.js'
import { addDays, dayWords, isDay } from '../parts/calendar.js'
import { Hospital } from '../parts/hospital.js'
import { Pager } from '../parts/pager.js'
import { loadRules, SetUp } from '../parts/reminders.js'
import { loadConnections } from '../parts/scheduled.js'
import { patternOf, Search } from '../parts/search.js'
import { Waiting } from '../parts/table.js'
import { isZone, wallOf } from '../parts/zones.js'

const SIZE = 50 // appointments on a page
const appointments = (...select) => supabase.from('appointments').select(...select)

// Connections as hospitals: with their own settings, the name in messages and the zone that days and times are meant in.
async function loadHospitals() {
  const connections = await loadConnections()
  const found = await rows(() => supabase.from('connection_settings').select('*').limit(1000))
  const settings = new Map(found.map((row) => [row.connection_id, row]))
  return connections.map(({ id, name, phone_number }) => {
    const own = settings.get(String(id))
    const zone = isZone(own?.timezone) ? own.timezone : 'UTC'
    return {
      id: String(id),
      name: own?.display_name || name || id,
      connection_name: name,
      phone_number,
      zone,
      settings: own,
    }
  })
}

// One page of what the address asks for: a day, the follow-ups of a day, what has a fault, or somebody by name or number.
async function loadPage(hospital, { what, words, page }) {
  const { data, count: total } = await ask(() => {
    const all = appointments('*', { count: 'exact' }).eq('connection_id', hospital.id)
    const range = [page * SIZE, (page + 1) * SIZE - 1]
    const newest = { ascending: false }
    if (words.trim()) {
      const pattern = `%${patternOf(words)}%`
      const found = all.or(`patient_name.ilike.${pattern},mobile.ilike.${pattern}`)
      return found
        .order('date', newest)
        .order('time')
        .order('id')
        .range(...range)
    }
    const asked =
      what === 'faults' ? all.not('reminder_fault', 'is', null) : all.or(`date.eq.${what},followup_date.eq.${what}`)
    return asked
      .order('date', newest)
      .order('time')
      .order('id')
      .range(...range)
  })
  return { shown: data, total, ...(await loadAround(data)) }
}

async function loadAround(shown) {
  const ids = shown.map((row) => row.id)
  const contacts = [...new Set(shown.map((row) => row.contact_id).filter(Boolean))]
  const [messages, people] = await Promise.all([
    ids.length
      ? rows(() =>
          supabase
            .from('scheduled_messages')
            .select('*')
            .in('source_id', ids)
            .order('source_position')
            .order('source_try')
            .limit(1000),
        )
      : [],
    contacts.length
      ? rows(() => supabase.from('contacts').select('id,contact_name,phone_number').in('id', contacts))
      : [],
  ])
  return { messages, people: new Map(people.map((one) => [String(one.id), one])) }
}

const countFaults = (hospital) =>
  count(() =>
    appointments('id', { count: 'exact', head: true })
      .eq('connection_id', hospital.id)
      .not('reminder_fault', 'is', null),
  )

function Appointments({ rest }) {
  const live = useLive(loadHospitals, [], { every: 10 })
  const [id, what] = rest
  if (!live.data) return html`<${Waiting} live=${live} />`
  if (!live.data.length) {
    return html`<div class="card empty"><p>Appointments are a connection's: each hospital has one.</p><a class="button primary" href="#/connections">To the connections</a></div>`
  }
  const hospital = live.data.find((one) => one.id === id) ?? live.data[0]
  return html`<${Desk} key=${hospital.id} hospital=${hospital} hospitals=${live.data} what=${what} onChange=${live.look} />`
}

function Desk({ hospital, hospitals, what, onChange }) {
  const today = wallOf(Date.now(), hospital.zone).slice(0, 10)
  const shown = isDay(what) || ['faults', 'hospital'].includes(what) ? what : today
  const rules = useLive(() => loadRules(hospital.id), [hospital.id], { every: 10 })
  const faults = useLive(() => countFaults(hospital), [hospital.id], { every: 5, of: ['appointments'] })
  const [dialog, open] = useState(null)
  const [changes, setChanges] = useState(0) // so that the list looks again
  const changed = () => {
    setChanges((before) => before + 1)
    return Promise.all([rules.look(), faults.look(), onChange()])
  }
  const view = (path, title, isHere, number) =>
    html`<a href=${hrefOf('appointments', hospital.id, path)} aria-current=${isHere ? 'page' : undefined}>${title}${number > 0 && html` <b>${number.toLocaleString('en')}</b>`}</a>`
  return html`<div class="bar">
      <label class="inline">Hospital
        <select aria-label="Hospital" value=${hospital.id} onChange=${(event) => go('appointments', event.target.value, ...(isDay(what) ? [] : [what].filter(Boolean)))}>
          ${hospitals.map((one) => html`<option value=${one.id}>${one.name}</option>`)}
        </select>
      </label>
      <button type="button" class="primary" disabled=${!rules.data} onClick=${() => open({ what: 'book' })}>Book an appointment</button>
    </div>
    <nav class="views" aria-label="Views">
      ${view(isDay(shown) ? shown : today, 'Day', isDay(shown))}
      ${view('faults', 'With a fault', shown === 'faults', faults.data)}
      ${view('hospital', 'Hospital and reminders', shown === 'hospital')}
    </nav>
    <${Waiting} live=${rules} />
    ${rules.data && shown === 'hospital' && html`<${Hospital} hospital=${hospital} rules=${rules.data} onChange=${changed} />`}
    ${rules.data && shown !== 'hospital' && html`<${List} key=${shown} hospital=${hospital} what=${shown} today=${today} rules=${rules.data} changes=${changes} onOpen=${(row, name) => open({ row, what: name })} onChange=${changed} />`}
    ${dialog && html`<${Opened} ...${dialog} hospital=${hospital} day=${isDay(shown) && shown >= today ? shown : today} today=${today} rules=${rules.data} onClose=${() => open(null)} onChange=${changed} />`}`
}

function List({ hospital, what, today, rules, changes, onOpen, onChange }) {
  const [words, search] = useState('')
  const [page, turn] = useState(0)
  const live = useLive(() => loadPage(hospital, { what, words, page }), [hospital.id, what, words, page], {
    of: ['appointments', 'scheduled_messages'],
  })
  useEffect(() => {
    if (changes) live.look()
  }, [changes])
  const pages = Math.ceil((live.data?.total ?? 0) / SIZE)
  return html`${isDay(what) && html`<${DayBar} hospital=${hospital} day=${what} today=${today} />`}
    <div class="bar"><${Search} label="Search all appointments" hint="Patient or number, on any day" onSearch=${(
      next,
    ) => {
      turn(0)
      search(next)
    }} /></div>
    ${rules.length === 0 && html`<${SetUp} hospital=${hospital} onChange=${onChange} />`}
    ${hospital.settings?.active === false && html`<p class="waits">This hospital's messages are switched off.</p>`}
    <${Waiting} live=${live} />
    ${live.data && html`<${Found} data=${live.data} hospital=${hospital} what=${what} isSearch=${Boolean(words.trim())} rules=${rules} onOpen=${onOpen} onChange=${onChange} />`}
    <${Pager} label="More appointments" page=${page} of=${pages} hasMore=${page + 1 < pages} onTurn=${turn} />`
}

function DayBar({ hospital, day, today }) {
  return html`<div class="bar">
    <a class="button" href=${hrefOf('appointments', hospital.id, addDays(day, -1))} aria-label="The day before">‹</a>
    <label class="inline"><span class="sr">Day</span><input type="date" value=${day} onChange=${(event) => isDay(event.target.value) && go('appointments', hospital.id, event.target.value)} /></label>
    <a class="button" href=${hrefOf('appointments', hospital.id, addDays(day, 1))} aria-label="The day after">›</a>
    ${day !== today && html`<a href=${hrefOf('appointments', hospital.id, today)}>Today</a>`}
    <span class="muted">Days and times as in ${hospital.zone}</span>
  </div>`
}

function Found({ data, hospital, what, isSearch, rules, onOpen, onChange }) {
  const names = new Map(rules.map((rule) => [rule.number, rule.name]))
  const isList = isSearch || !isDay(what)
  const line = (row) =>
    html`<li key=${row.id}><${AppointmentLine}
      row=${row} zone=${hospital.zone} names=${names} contact=${data.people.get(row.contact_id)} isDated=${isList || row.date !== what}
      messages=${data.messages.filter((message) => message.source_id === row.id)} onOpen=${onOpen} onChange=${onChange} /></li>`
  if (isList) {
    const empty = isSearch ? 'Nobody of that name or number.' : 'No appointment has a fault.'
    return html`<h2 class="day">${isSearch ? 'Found' : 'With a fault'}</h2>
      ${data.shown.length ? html`<ul class="messages">${data.shown.map(line)}</ul>` : html`<div class="card empty">${empty}</div>`}`
  }
  const [own, followups] = [
    data.shown.filter((row) => row.date === what),
    data.shown.filter((row) => row.date !== what),
  ]
  return html`<h2 class="day">${dayWords(what)}</h2>
    ${own.length > 0 && html`<ul class="messages">${own.map(line)}</ul>`}
    ${data.total === 0 && html`<div class="card empty">No appointments on this day.</div>`}
    ${followups.length > 0 && html`<h2 class="day">Follow-ups on this day</h2><ul class="messages">${followups.map(line)}</ul>`}`
}

export default { path: 'appointments', title: 'Appointments', Page: Appointments }
