// Who a run writes to, and what became of each: position by position, by outcome, page by page.
import { rows, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { cancel, sendAgain } from './deeds.js'
import { Note } from './form.js'
import { Pager, turned } from './pager.js'
import { Reason, Status, WAITING } from './status.js'
import { Waiting } from './table.js'
import { When } from './time.js'

const SIZE = 50
const CHUNK = 200 // messages in one question
const VIEWS = {
  all: { title: 'All' },
  skipped: { title: 'Skipped', empty: 'Nobody was skipped.' },
  failed: { title: 'Failed', statuses: ['failed'], empty: 'Nothing has failed.' },
  unconfirmed: { title: 'Unconfirmed', statuses: ['unconfirmed'], empty: 'Nothing is unconfirmed.' },
  pending: { title: 'Pending', statuses: WAITING, empty: 'No message waits.' },
  sent: { title: 'Sent', statuses: ['sent'], empty: 'Nothing has been sent yet.' },
  cancelled: { title: 'Cancelled', statuses: ['cancelled'], empty: 'Nothing was cancelled.' },
}
const MESSAGE =
  'id,status,message,type,caption,media_url,error,waiting_reason,waiting_until,delivery_status,sent_at,timezone,' +
  'source_position,source_try'

// The latest message of each position: a retry is another message.
export async function latestMessages(run, positions) {
  const found = new Map()
  for (let from = 0; from < positions.length; from += CHUNK) {
    const some = positions.slice(from, from + CHUNK)
    const tries = await rows(() =>
      supabase
        .from('scheduled_messages')
        .select(MESSAGE)
        .eq('source_id', run.id)
        .in('source_position', some)
        .order('source_try')
        .limit(5 * CHUNK),
    )
    for (const message of tries) found.set(message.source_position, message)
  }
  return found
}

export const recipientsAfter = (run, position, most, isSkipped) =>
  rows(() => {
    const all = supabase
      .from('campaign_recipients')
      .select('position,contact_id,name,address,timezone,fault')
      .eq('run_id', run.id)
      .gt('position', position)
    return (isSkipped ? all.not('fault', 'is', null) : all).order('position').limit(most)
  })

// Positions whose latest message stands so.
async function positionsOf(run, statuses, after) {
  const found = []
  for (let position = after; found.length <= SIZE; ) {
    const some = await rows(() =>
      supabase
        .from('scheduled_messages')
        .select('source_position')
        .eq('source_id', run.id)
        .in('status', statuses)
        .gt('source_position', position)
        .order('source_position')
        .limit(CHUNK),
    )
    if (!some.length) break
    const positions = [...new Set(some.map((row) => row.source_position))]
    const latest = await latestMessages(run, positions)
    found.push(...positions.filter((one) => statuses.includes(latest.get(one)?.status)))
    position = positions.at(-1)
  }
  return found.slice(0, SIZE + 1)
}

async function load(run, view, after) {
  const { statuses } = VIEWS[view]
  if (!statuses) {
    const people = await recipientsAfter(run, after, SIZE + 1, view === 'skipped')
    return await withMessages(run, people)
  }
  const positions = await positionsOf(run, statuses, after)
  const people = await rows(() =>
    supabase
      .from('campaign_recipients')
      .select('position,contact_id,name,address,timezone,fault')
      .eq('run_id', run.id)
      .in('position', positions)
      .order('position'),
  )
  return await withMessages(run, people)
}

async function withMessages(run, people) {
  const shown = people.slice(0, SIZE)
  const messages = await latestMessages(
    run,
    shown.filter((one) => !one.fault).map((one) => one.position),
  )
  return { shown, hasMore: people.length > SIZE, messages }
}

export function Recipients({ run, view = 'all', hrefOf, onChange }) {
  const at = VIEWS[view] ? view : 'all'
  const numbers = { all: run.total, ...run }
  return html`<nav class="views" aria-label="Which recipients">
      ${Object.entries(VIEWS).map(([key, { title }]) => html`<a key=${key} href=${hrefOf(key)} aria-current=${key === at ? 'page' : undefined}>${title}${numbers[key] > 0 && html` <b>${numbers[key].toLocaleString('en')}</b>`}</a>`)}
    </nav>
    <${List} key=${at} run=${run} view=${at} onChange=${onChange} />`
}

function List({ run, view, onChange }) {
  const [ends, setEnds] = useState([]) // the last positions of the pages before this one
  const after = ends.at(-1) ?? 0
  const live = useLive(() => load(run, view, after), [run.id, view, after], {
    of: ['campaign_runs', 'scheduled_messages'],
  })
  const changed = () => {
    live.look()
    onChange()
  }
  const { shown, hasMore, messages } = live.data ?? { shown: [], hasMore: false }
  return html`<${Waiting} live=${live} />
    ${live.data && !shown.length && html`<div class="card empty">${VIEWS[view].empty ?? 'The recipients are being gathered.'}</div>`}
    ${shown.length > 0 && html`<ul class="messages">${shown.map((one) => html`<li key=${one.position}><${Recipient} person=${one} message=${messages.get(one.position)} run=${run} onChange=${changed} /></li>`)}</ul>`}
    <${Pager} label="More recipients" page=${ends.length} hasMore=${hasMore} onTurn=${(to) => setEnds(turned(ends, to, shown.at(-1)?.position))} />`
}

// What a recipient stands at who has no message: skipped, still to be made, or deleted since.
function Without({ person, run }) {
  if (person.fault) return html`<span class="status skipped">skipped</span>`
  return html`<span class="status">${run.finished_at ? 'deleted' : 'waiting'}</span>`
}

function Recipient({ person, message, run, onChange }) {
  const deed = useDeed()
  const press = (what, done) => deed.run(() => what(message), done).then((went) => went && onChange())
  const text = message && (message.type === 'text' ? message.message : message.caption || message.message)
  return html`<article class="message" aria-label=${`Recipient ${person.position}`}>
    <div class="message-head">
      ${message ? html`<${Status} row=${message} />` : html`<${Without} person=${person} run=${run} />`}
      <span class="muted">#${person.position}</span>
      <b><bdi>${person.name || person.address || 'No name'}</bdi></b>
      ${person.name && person.address && html`<bdi class="muted">${person.address}</bdi>`}
    </div>
    <div class="message-body">
      ${text && html`<p class="text" dir="auto">${text}</p>`}
      ${person.fault && html`<p class="fault">${person.fault}</p>`}
      ${message && html`<${Reason} row=${message} />`}
      ${message?.status === 'sent' && message.sent_at && html`<p class="muted">Sent <${When} at=${message.sent_at} zone=${message.timezone ?? undefined} /></p>`}
      <${Note} of=${deed} />
    </div>
    <div class="message-actions">
      ${message && WAITING.includes(message.status) && html`<button type="button" class="plain" disabled=${deed.isBusy} onClick=${() => press(cancel, 'Cancelled.')}>Cancel</button>`}
      ${message && ['failed', 'cancelled'].includes(message.status) && html`<button type="button" class="plain" disabled=${deed.isBusy} onClick=${() => press(sendAgain, 'It will be sent again.')}>Retry</button>`}
    </div>
  </article>`
}
