// How each WhatsApp connection stands: its pace, limits and hours as the operator has set them, today's use, what waits and why.
import { insertOnce, rows, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { go, hrefOf } from '../parts/address.js'
import { Dialog } from '../parts/dialog.js'
import { Field, Note } from '../parts/form.js'
import { Join, Members } from '../parts/members.js'
import { loadConnections } from '../parts/scheduled.js'
import { Waiting } from '../parts/table.js'
import { When } from '../parts/time.js'

const PERIODS = { 1: 'second', 60: 'minute', 3600: 'hour', 86400: 'day' }

async function load() {
  return await Promise.all(
    (await loadConnections()).map(async (connection) => {
      const [usage] = await rows(() => supabase.rpc('connection_usage', { connection_id: connection.id }))
      return { ...connection, usage }
    }),
  )
}

// #/connections/<id>/members, #/connections/join/<token>
function Connections({ rest, user }) {
  const live = useLive(load, [], { every: 2 })
  const [isAdding, add] = useState(false)
  const [word, argument] = rest
  const opened = argument === 'members' && live.data?.find((one) => one.id === word)
  return html`<div class="bar"><button type="button" class="primary" onClick=${() => add(true)}>Add a connection</button></div>
    <${Waiting} live=${live} />
    ${live.data?.length === 0 && html`<div class="card empty">No WhatsApp connections yet. Messages are sent through one: add it, and let your operator set it up.</div>`}
    <div class="cards">${live.data?.map((one) => html`<${Connection} key=${one.id} connection=${one} />`)}</div>
    ${word === 'join' && argument && html`<${Join} token=${argument} user=${user} onClose=${() => go('connections')} onChange=${live.look} />`}
    ${opened && html`<${Members} connection=${opened} user=${user} onClose=${() => go('connections')} />`}
    ${isAdding && html`<${Add} onClose=${() => add(false)} onChange=${live.look} />`}`
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1)

function Connection({ connection, usage = connection.usage }) {
  return html`<section class="card" aria-label=${connection.name ?? connection.id}>
    <div class="card-head">
      <h2 dir="auto">${connection.name ?? connection.id}</h2>
      ${usage && html`<span class=${`status ${usage.state ? 'unconfirmed' : 'sent'}`}>${usage.state ? 'held up' : 'ready'}</span>`}
    </div>
    ${connection.phone_number && html`<p class="muted"><bdi>${connection.phone_number}</bdi></p>`}
    ${usage?.state && html`<p class="waits" dir="auto">${sentence(usage.state)}${usage.state_until && html`, until about <${When} at=${usage.state_until} zone=${usage.timezone} />`}.</p>`}
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
          html`<li dir="auto"><b>${number.toLocaleString('en')}${usage.waiting_is_cut && '+'}</b> ${sentence(reason)}${until && html`, until about <${When} at=${until} zone=${usage.timezone} />`}</li>`,
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
