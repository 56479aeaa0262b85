// Document 000's panel: one text to at most fifty contacts at a time of choice, and the list of what was scheduled so.
import { persist, Refusal, rows, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { CampaignLine } from '../parts/campaign-line.js'
import { CHANGES, campaigns, withRuns } from '../parts/campaigns.js'
import { drafts } from '../parts/drafts.js'
import { Field, Note, useForm } from '../parts/form.js'
import { ConnectionField } from '../parts/message-form.js'
import { People } from '../parts/people.js'
import { removeRow } from '../parts/records.js'
import { loadConnections } from '../parts/scheduled.js'
import { Waiting } from '../parts/table.js'
import { When } from '../parts/time.js'
import { instantIn, isOver, newTimes, Times } from '../parts/times.js'

const MOST = 50 // what schedule_to_contacts takes at once
const SHOWN = 30
const DRAFT = 'bulk'
const VIEWS = { new: 'Schedule', list: 'Scheduled messages' }

const newValues = (connections) => ({
  connection_id: connections.length === 1 ? connections[0].id : '',
  message: '',
  chosen: [],
  ...newTimes(),
})

function Bulk({ rest }) {
  const [saved, setSaved] = useState(null)
  const view = rest[0] === 'list' ? 'list' : 'new'
  const finish = (answer) => {
    setSaved(answer)
    location.hash = '#/bulk/list'
  }
  return html`<nav class="views" aria-label="Which part">
      ${Object.entries(VIEWS).map(([key, title]) => html`<a key=${key} href=${`#/bulk/${key}`} aria-current=${key === view ? 'page' : undefined} onClick=${() => setSaved(null)}>${title}</a>`)}
    </nav>
    ${view === 'new' ? html`<${Schedule} onDone=${finish} />` : html`<${List} saved=${saved} />`}`
}

function Schedule({ onDone }) {
  const live = useLive(loadConnections, [], { every: null })
  if (!live.data) return html`<${Waiting} live=${live} />`
  if (!live.data.length) {
    return html`<div class="card empty"><p>You have no WhatsApp connection yet.</p><a class="button primary" href="#/connections">To the connections</a></div>`
  }
  return html`<${Form} connections=${live.data} onDone=${onDone} />`
}

const callOf = (values) => ({
  contact_ids: values.chosen.map((one) => one.id),
  message: values.message,
  scheduled_at: instantIn(values).toISOString(),
  connection_id: values.connection_id,
})

// What an earlier press sent may have arrived, though its answer did not: it goes before something else is sent in its place.
async function takeBack(tried) {
  const found = await rows(() =>
    campaigns()
      .select('id,message,audience')
      .eq('connection_id', tried.connection_id)
      .eq('scheduled_at', tried.scheduled_at)
      .eq('max_recipients', MOST),
  )
  const idsOf = (ids) => [...(ids ?? [])].sort().join()
  for (const one of found) {
    if (one.message === tried.message && idsOf(one.audience.contacts) === idsOf(tried.contact_ids))
      await removeRow('campaigns', one)
  }
}

// The very same call again makes no second campaign, so an answer that was lost is asked for again.
const schedule = async (call) => (await persist(() => rows(() => supabase.rpc('schedule_to_contacts', call))))[0]

function Form({ connections, onDone }) {
  const [draft] = useState(() => drafts.load(DRAFT) ?? { values: newValues(connections) })
  const keep = (changes) => drafts.save(DRAFT, Object.assign(draft, changes))
  const { values, set, bind } = useForm(draft.values, (changed) => keep({ values: changed }))
  const deed = useDeed()
  const isPast = isOver(values)
  const save = async () => {
    if (!values.chosen.length) throw new Refusal('Choose somebody to write to.')
    const call = callOf(values)
    if (draft.tried && JSON.stringify(draft.tried) !== JSON.stringify(call)) await takeBack(draft.tried)
    keep({ tried: call })
    const answer = await schedule(call)
    drafts.clear(DRAFT)
    onDone({ ...answer, at: call.scheduled_at, zone: values.zone })
  }
  const submit = (event) => {
    event.preventDefault()
    if (!isPast) deed.run(save)
  }
  return html`<section class="card" aria-label="Select recipients">
      <h2>1. Select recipients</h2>
      <${People} chosen=${values.chosen} most=${MOST} onChange=${(chosen) => set({ chosen })} />
    </section>
    <form class="card stack" onSubmit=${submit}>
      <h2>2. Compose and schedule</h2>
      <${ConnectionField} bind=${bind} connections=${connections} chosen=${values.connection_id} />
      <${Field} label="Message" hint="{name} is a place that each recipient's own name fills."><textarea ...${bind('message')} rows="4" dir="auto" required></textarea><//>
      <${Times} bind=${bind} values=${values} isPast=${isPast} />
      <${Note} of=${deed} />
      <div class="actions">
        <button class="primary" disabled=${deed.isBusy}>${deed.isBusy ? 'Scheduling …' : 'Schedule'}</button>
        <span class="muted">to ${values.chosen.length === 1 ? '1 recipient' : `${values.chosen.length} recipients`}</span>
      </div>
    </form>`
}

async function load() {
  const shown = await rows(() =>
    withRuns(1)
      .eq('max_recipients', MOST)
      .is('template_id', null)
      .eq('is_recurring', false)
      .order('scheduled_at', { ascending: false })
      .order('id')
      .limit(SHOWN),
  )
  return { shown, connections: await loadConnections() }
}

function List({ saved }) {
  const live = useLive(load, [], { of: CHANGES })
  const { shown, connections } = live.data ?? { shown: [] }
  const names = new Map(connections?.map((one) => [one.id, one.name ?? one.id]))
  return html`<div role="status">${saved && html`<p class="done">Scheduled for <${When} at=${saved.at} zone=${saved.zone} />, to ${saved.recipient_count === 1 ? '1 recipient' : `${saved.recipient_count} recipients`}${saved.estimated_finish_at && html`; the last goes out about <${When} at=${saved.estimated_finish_at} zone=${saved.zone} />`}.</p>`}</div>
    <${Waiting} live=${live} />
    ${live.data && !shown.length && html`<div class="card empty">Nothing is scheduled to several contacts yet.</div>`}
    ${shown.length > 0 && html`<ul class="messages">${shown.map((one) => html`<li key=${one.id}><${CampaignLine} campaign=${one} via=${names.get(one.connection_id) ?? one.connection_id} text /></li>`)}</ul>`}
    ${shown.length === SHOWN && html`<p class="muted">The latest ${SHOWN}. The page <a href="#/campaigns">Campaigns</a> has all of them.</p>`}`
}

export default { path: 'bulk', title: 'Bulk', Page: Bulk }
