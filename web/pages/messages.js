// Everything of mine, by status and time; a calendar of what is to come; a series as one line that opens.
import { count, preview, rows, rowsOf, supabase, useLive } from '../client.js'
import { html, useEffect, useState } from '../html.js'
import { go } from '../parts/address.js'
import { addDays, addMonths, dayWords, isDay, Month, monthWords, weeksOf } from '../parts/calendar.js'
import { Dialog } from '../parts/dialog.js'
import { MessageLine, zoneOf } from '../parts/message-line.js'
import { Pager, turned } from '../parts/pager.js'
import { Edit, loadConnections } from '../parts/scheduled.js'
import { WAITING } from '../parts/status.js'
import { Waiting } from '../parts/table.js'
import { When } from '../parts/time.js'
import { hereZone, instantOf, wallOf } from '../parts/zones.js'

const SIZE = 50 // messages on a page
const VIEWS = {
  upcoming: { title: 'To come', statuses: WAITING, ascending: true, empty: 'Nothing is to come.', hint: true },
  sent: { title: 'Sent', statuses: ['sent'], empty: 'Nothing has been sent yet.' },
  failed: { title: 'Failed', statuses: ['failed'], empty: 'Nothing has failed.' },
  unconfirmed: { title: 'Unconfirmed', statuses: ['unconfirmed'], empty: 'Nothing is unconfirmed.' },
  cancelled: { title: 'Cancelled', statuses: ['cancelled'], empty: 'Nothing was cancelled.' },
  all: { title: 'All', statuses: null, empty: 'There are no messages yet.', hint: true },
}
const COUNTED = ['upcoming', 'failed', 'unconfirmed']

const MESSAGES = ['scheduled_messages']
const messages = (...select) => supabase.from('scheduled_messages').select(...select)
// One page of a view: after `cursor`, the last row of the page before.
async function loadPage({ statuses, ascending = false }, day, cursor) {
  const found = await rows(() => {
    let query = messages('*')
    if (statuses) query = query.in('status', statuses)
    if (day) {
      query = query.gte('scheduled_at', instantOf(`${day}T00:00`, hereZone).toISOString())
      query = query.lt('scheduled_at', instantOf(`${addDays(day, 1)}T00:00`, hereZone).toISOString())
    }
    if (cursor) {
      const beyond = ascending ? 'gt' : 'lt'
      query = query.or(
        `scheduled_at.${beyond}.${cursor.scheduled_at},and(scheduled_at.eq.${cursor.scheduled_at},id.${beyond}.${cursor.id})`,
      )
    }
    return query
      .order('scheduled_at', { ascending })
      .order('id', { ascending })
      .limit(SIZE + 1)
  })
  const shown = found.slice(0, SIZE)
  const [names, connections] = await Promise.all([loadNames(shown), loadConnections()])
  return { shown, hasMore: found.length > SIZE, names, connections }
}

// Who is meant by contact ids; numbers and WhatsApp ids speak for themselves.
async function loadNames(shown) {
  const ids = [...new Set(shown.map((row) => row.contact_id))].filter((id) => /^(\d{1,15}|[0-9a-f-]{36})$/i.test(id))
  const found = ids.length
    ? await rowsOf(() => supabase.from('contacts').select('id,contact_name,phone_number').in('id', ids))
    : []
  return new Map(found.map((one) => [String(one.id), one.contact_name || one.phone_number]))
}

const countView = ({ statuses }) => count(() => messages('id', { count: 'exact', head: true }).in('status', statuses))

function Messages({ rest }) {
  const [view = 'upcoming', argument] = rest
  const counts = useLive(
    async () => Object.fromEntries(await Promise.all(COUNTED.map(async (key) => [key, await countView(VIEWS[key])]))),
    [],
    { every: 5, of: MESSAGES },
  )
  const known = VIEWS[view] ? view : 'upcoming'
  const day = isDay(argument) ? argument : undefined
  return html`<nav class="views" aria-label="Which messages">
      ${Object.entries(VIEWS).map(([key, { title }]) => html`<a href=${`#/messages/${key}`} aria-current=${key === known && view !== 'calendar' ? 'page' : undefined}>${title}${counts.data?.[key] > 0 && html` <b>${counts.data[key].toLocaleString('en')}</b>`}</a>`)}
      <a href="#/messages/calendar" aria-current=${view === 'calendar' ? 'page' : undefined}>Calendar</a>
    </nav>
    ${view === 'calendar' ? html`<${Calendar} month=${argument} />` : html`<${List} key=${`${known} ${day}`} view=${known} day=${day} onChange=${counts.look} />`}`
}

function List({ view, day, onChange }) {
  const [cursors, setCursors] = useState([]) // the ends of the pages before this one
  const [editing, setEditing] = useState(null)
  const cursor = cursors.at(-1)
  const live = useLive(() => loadPage(VIEWS[view], day, cursor), [view, day, cursor?.id], { of: MESSAGES })
  const changed = () => Promise.all([live.look(), onChange()])
  const finish = async () => {
    await changed()
    setEditing(null)
  }
  return html`<div class="bar">
      <label class="inline">Day <input type="date" value=${day ?? ''} onChange=${(event) => go('messages', view, ...[event.target.value].filter(Boolean))} /></label>
      ${day && html`<a href=${`#/messages/${view}`}>All days</a>`}
      <span class="muted">Days as in ${hereZone}</span>
    </div>
    <${Waiting} live=${live} />
    ${live.data && html`<${Days} data=${live.data} view=${VIEWS[view]} onEdit=${setEditing} onChange=${changed} />`}
    <${Pager} label="More messages" page=${cursors.length} hasMore=${live.data?.hasMore} onTurn=${(to) => setCursors(turned(cursors, to, live.data?.shown.at(-1)))} />
    ${
      editing &&
      html`<${Dialog} title="A scheduled message" onClose=${() => setEditing(null)}>
      <${Edit} row=${editing} connections=${live.data.connections} onDone=${finish} onBack=${() => setEditing(null)} />
    <//>`
    }`
}

// Under a heading for each day; of a series only the first row that comes, which tells of the others.
function Days({ data, view, onEdit, onChange }) {
  if (!data.shown.length) {
    return html`<div class="card empty">${view.empty}${view.hint && html` <a href="#/contacts">Choose a contact</a> to schedule one.`}</div>`
  }
  const vias = new Map(data.connections.map((one) => [one.id, one.name ?? one.id]))
  const today = wallOf(Date.now(), hereZone).slice(0, 10)
  const [days, series] = [new Map(), new Set()]
  for (const row of data.shown) {
    if (row.series_id && series.has(row.series_id)) continue
    if (row.series_id) series.add(row.series_id)
    const day = wallOf(row.scheduled_at, hereZone).slice(0, 10)
    days.set(day, [...(days.get(day) ?? []), row])
  }
  const line = (row) =>
    html`<li key=${row.id}>
      <${MessageLine} row=${row} who=${data.names.get(row.contact_id) ?? row.contact_id} via=${vias.get(row.connection_id) ?? row.connection_id} onEdit=${onEdit} onChange=${onChange}>
        ${row.series_id && html`<${Series} row=${row} onEdit=${onEdit} onChange=${onChange} />`}
      <//>
    </li>`
  return [...days].map(
    ([day, list]) => html`<section key=${day} aria-label=${dayWords(day)}>
      <h2 class="day">${day === today && 'Today, '}${dayWords(day)}</h2>
      <ul class="messages">${list.map(line)}</ul>
    </section>`,
  )
}

// The other rows of a series, and when it will go on: looked up when it is opened.
function Series({ row, onEdit, onChange }) {
  const [isOpen, open] = useState(false)
  return html`<details class="series" onToggle=${(event) => open(event.target.open)}>
    <summary>The whole series</summary>
    ${isOpen && html`<${SeriesRows} row=${row} onEdit=${onEdit} onChange=${onChange} />`}
  </details>`
}

function SeriesRows({ row, onEdit, onChange }) {
  const live = useLive(
    () =>
      rows(() => messages('*').eq('series_id', row.series_id).order('scheduled_at', { ascending: false }).limit(SIZE)),
    [row.series_id],
    { of: MESSAGES },
  )
  const changed = () => {
    live.look()
    onChange()
  }
  const following = live.data?.find((one) => WAITING.includes(one.status))
  return html`<${Waiting} live=${live} />
    ${live.data && !following && html`<p class="muted">It has ended.</p>`}
    ${following && html`<${Following} key=${following.id} row=${following} />`}
    ${live.data && html`<ul class="messages">${live.data.map((one) => html`<li key=${one.id}><${MessageLine} row=${one} onEdit=${onEdit} onChange=${changed} /></li>`)}</ul>`}
    ${live.data?.length === SIZE && html`<p class="muted">The latest ${SIZE}.</p>`}`
}

function Following({ row }) {
  const [times, set] = useState(null)
  const zone = zoneOf(row)
  useEffect(() => {
    const question = {
      start: wallOf(row.scheduled_at, zone),
      pattern: row.recurrence_pattern,
      timezone: zone,
      count: 5,
    }
    if (row.recurrence_end_at) question.end = row.recurrence_end_at
    preview(question).then(set, () => set(null))
  }, [])
  return (
    times &&
    html`<div class="next"><p>It goes on:</p><ol>${times.map((time) => html`<li><${When} at=${time} zone=${zone} /></li>`)}</ol></div>`
  )
}

// '9,999', then '12K': it must fit into a cell.
const short = (number) => number.toLocaleString('en', number > 9999 ? { notation: 'compact' } : {})

function Calendar({ month: asked }) {
  const today = wallOf(Date.now(), hereZone).slice(0, 10)
  const month = /^\d{4}-(0[1-9]|1[0-2])$/.test(asked) ? asked : today.slice(0, 7)
  const days = weeksOf(month).flat()
  const live = useLive(
    async () => {
      const range = { timezone: hereZone, since: days[0], until: days.at(-1) }
      const found = await rows(() => supabase.rpc('count_upcoming_messages', range))
      return new Map(found.map(({ day, number }) => [day, number]))
    },
    [month],
    { every: 5, of: MESSAGES },
  )
  const cell = (day) => {
    const number = live.data?.get(day)
    const words = number === 1 ? '1 message' : `${number?.toLocaleString('en')} messages`
    return (
      number &&
      html`<a href=${`#/messages/upcoming/${day}`} aria-label=${`${words} on ${dayWords(day)}`}><b>${short(number)}</b><span> ${number === 1 ? 'message' : 'messages'}</span></a>`
    )
  }
  return html`<div class="bar month-bar">
      <a class="button" href=${`#/messages/calendar/${addMonths(month, -1)}`} aria-label="The month before">‹</a>
      <h2 aria-live="polite">${monthWords(month)}</h2>
      <a class="button" href=${`#/messages/calendar/${addMonths(month, 1)}`} aria-label="The month after">›</a>
      <span class="muted">Days as in ${hereZone}</span>
    </div>
    <${Waiting} live=${live} />
    ${
      live.data &&
      html`<${Month} month=${month} today=${today} cell=${cell} />
      ${live.data.size === 0 && html`<p class="muted">Nothing is to come in these weeks.</p>`}`
    }`
}

export default { path: 'messages', title: 'Messages', Page: Messages }
