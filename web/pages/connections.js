// How each WhatsApp connection stands: its pace, limits and hours as the operator has set them, today's use, what waits and why.
import { insertOnce, rows, rowsOf, supabase, useDeed, useLive } from '../client.js'
import { html, useRef, useState } from '../html.js'
import { go, hrefOf } from '../parts/address.js'
import { Dialog } from '../parts/dialog.js'
import { Field, Note } from '../parts/form.js'
import { Join, Members } from '../parts/members.js'
import { Pager } from '../parts/pager.js'
import { Waiting } from '../parts/table.js'
import { When } from '../parts/time.js'

const PERIODS = { 1: 'second', 60: 'minute', 3600: 'hour', 86400: 'day' }

const SIZE = 12 // connections on a page: each is asked about by itself, again and again

const connections = () => supabase.from('connections').select('id,name,phone_number')

async function load(page) {
  const found = await rows(() =>
    connections()
      .order('name')
      .order('id')
      .range(page * SIZE, (page + 1) * SIZE),
  )
  const shown = await Promise.all(
    found.slice(0, SIZE).map(async (connection) => {
      const [usage] = await rows(() => supabase.rpc('connection_usage', { connection_id: connection.id }))
      return { ...connection, usage }
    }),
  )
  return { shown, hasMore: found.length > SIZE }
}

// #/connections/<id>/members, #/connections/join/<token>
function Connections({ rest, user }) {
  const [page, turn] = useState(0)
  const live = useLive(() => load(page), [page], { every: 2 })
  const [isAdding, add] = useState(false)
  const [word, argument] = rest
  return html`<div class="bar"><button type="button" class="primary" onClick=${() => add(true)}>Add a connection</button></div>
    <${Waiting} live=${live} />
    ${live.data?.shown.length === 0 && page === 0 && html`<div class="card empty">No WhatsApp connections yet. Messages are sent through one: add it, and let your operator set it up.</div>`}
    <div class="cards">${live.data?.shown.map((one) => html`<${Connection} key=${one.id} connection=${one} />`)}</div>
    <${Pager} label="More connections" page=${page} hasMore=${live.data?.hasMore} onTurn=${turn} />
    ${word === 'join' && argument && html`<${Join} token=${argument} user=${user} onClose=${() => go('connections')} onChange=${live.look} />`}
    ${word !== 'join' && argument === 'members' && html`<${Opened} key=${word} id=${word} user=${user} />`}
    ${isAdding && html`<${Add} onClose=${() => add(false)} onChange=${live.look} />`}`
}

// The members of one that need not be on the page that is shown. Whoever is removed, or leaves, sees it no longer.
function Opened({ id, user }) {
  const live = useLive(() => rowsOf(() => connections().eq('id', id)), [id])
  const wasThere = useRef(false)
  const [connection] = live.data ?? []
  const close = () => go('connections')
  if (connection) {
    wasThere.current = true
    return html`<${Members} connection=${connection} user=${user} onClose=${close} />`
  }
  if (wasThere.current || (!live.data && !live.fault)) return null
  const words = live.fault?.message ?? 'There is no such connection.'
  return html`<${Dialog} title="Members" onClose=${close}><p class="fault" role="alert">${words}</p><//>`
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1)

function Connection({ connection, usage = connection.usage }) {
  return html`<section class="card" aria-label=${connection.name ?? connection.id}>
    <div class="card-head">
      <h2 dir="auto">${connection.name ?? connection.id}</h2>
      ${usage && html`<span class=${`status ${usage.state ? 'unconfirmed' : 'sent'}`}>${usage.state ? 'held up' : 'ready'}</span>`}
    </div>
    ${connection.phone_number && html`<p class="muted"><bdi>${connection.phone_number}</bdi></p>`}
    ${usage?.state && html`<p class="waits">${sentence(usage.state)}${usage.state_until && html`, until about <${When} at=${usage.state_until} zone=${usage.timezone} />`}.</p>`}
    ${usage && html`<${Usage} usage=${usage} />`}
    <div class="actions apart"><a class="button plain" href=${hrefOf('connections', connection.id, 'members')} aria-label=${`Members of ${connection.name ?? connection.id}`}>Members</a></div>
  </section>`
}

function Usage({ usage }) {
  const { messages, period_seconds: period, daily_limit: limit, sent_today: sent } = usage
  const pace = messages
    ? `At most ${messages.toLocaleString('en')} ${PERIODS[period] ? `a ${PERIODS[period]}` : `in ${period} seconds`}`
    : 'No limit is set'
  const hours = usage.window_start
    ? `${usage.window_start.slice(0, 5)} to ${usage.window_end.slice(0, 5)}`
    : 'Around the clock'
  return html`<dl class="facts">
      <dt>Today</dt>
      <dd>
        ${limit === null ? `${sent.toLocaleString('en')} sent` : `${sent.toLocaleString('en')} of ${limit.toLocaleString('en')} sent`}
        ${limit > 0 && html`<progress max=${limit} value=${Math.min(sent, limit)} aria-label="Of today's limit"></progress>`}
        ${limit !== null && html`<small class="muted">What is beyond ${usage.at_daily_limit === 'fail' ? 'fails' : 'waits for the next day'}</small>`}
      </dd>
      <dt>Pace</dt>
      <dd>${pace}</dd>
      <dt>Sending hours</dt>
      <dd>${hours} <span class="zone">${usage.timezone}</span></dd>
    </dl>
    <h3>Waiting now</h3>
    ${usage.waiting.length === 0 && html`<p class="muted">Nothing waits.</p>`}
    <ul class="reasons">
      ${usage.waiting.map(
        ({ reason, number, until }) =>
          html`<li><b>${number.toLocaleString('en')}${usage.waiting_is_cut && '+'}</b> ${sentence(reason)}${until && html`, until about <${When} at=${until} zone=${usage.timezone} />`}</li>`,
      )}
    </ul>`
}

function Add({ onClose, onChange }) {
  const deed = useDeed()
  const [id] = useState(() => crypto.randomUUID())
  const submit = async (event) => {
    event.preventDefault()
    const name = new FormData(event.target).get('name').trim()
    if (!(await deed.run(() => insertOnce('connections', { id, name })))) return
    onChange()
    onClose()
  }
  return html`<${Dialog} title="Add a connection" onClose=${onClose}>
    <form class="stack" onSubmit=${submit}>
      <${Field} label="Name" hint="As your messages' authors will choose it: Reception"><input name="name" dir="auto" required maxlength="200" autocomplete="off" /><//>
      <${Note} of=${deed} />
      <div class="actions"><button class="primary" disabled=${deed.isBusy}>Add</button></div>
    </form>
  <//>`
}

export default { path: 'connections', title: 'Connections', Page: Connections }
