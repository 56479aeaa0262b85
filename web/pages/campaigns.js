// One message to many, as a history: made, rehearsed, sent, followed, and looked up later.
import { rows, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { go } from '../parts/address.js'
import { CampaignForm } from '../parts/campaign-form.js'
import { CampaignLine } from '../parts/campaign-line.js'
import { CampaignView, RunView } from '../parts/campaign-view.js'
import { CHANGES, withRuns } from '../parts/campaigns.js'
import { Pager, turned } from '../parts/pager.js'
import { loadConnections } from '../parts/scheduled.js'
import { patternOf, Search } from '../parts/search.js'
import { Waiting } from '../parts/table.js'

const SIZE = 20
const VIEWS = {
  all: { title: 'All', empty: 'No campaigns yet.' },
  drafts: { title: 'Drafts', statuses: ['draft'], empty: 'There are no drafts.' },
  scheduled: { title: 'Scheduled', statuses: ['scheduled', 'paused'], empty: 'Nothing is scheduled or being sent.' },
  over: { title: 'Over', statuses: ['completed', 'failed', 'cancelled'], empty: 'No campaign is over yet.' },
}

// One page of them, the newest first: those before `cursor`, the last row of the page before.
async function load({ statuses }, search, cursor) {
  const words = patternOf(search)
  const found = await rows(() => {
    let query = withRuns(1)
    if (statuses) query = query.in('status', statuses)
    if (words) query = query.ilike('name', `%${words}%`)
    if (cursor) {
      query = query.or(`created_at.lt.${cursor.created_at},and(created_at.eq.${cursor.created_at},id.lt.${cursor.id})`)
    }
    return query
      .order('created_at', { ascending: false })
      .order('id', { ascending: false })
      .limit(SIZE + 1)
  })
  const shown = found.slice(0, SIZE)
  return { shown, hasMore: found.length > SIZE, connections: await loadConnections() }
}

// #/campaigns/<view>, …/new, …/<id>, …/<id>/edit, …/<id>/run/<run>/<view>
function Campaigns({ rest }) {
  const [first, second, run, view] = rest
  const back = html`<p class="back"><a href="#/campaigns">All campaigns</a></p>`
  if (first === 'new' || second === 'edit') {
    const id = first === 'new' ? undefined : first
    return html`${back}<h2>${id ? 'Edit the campaign' : 'A new campaign'}</h2>
      <${CampaignForm} key=${first} id=${id} onDone=${(row) => go('campaigns', row.id)} />`
  }
  if (second === 'run') return html`<${RunView} key=${run} run=${run} view=${view} />`
  if (first && !VIEWS[first]) return html`${back}<${CampaignView} key=${first} id=${first} />`
  return html`<${List} key=${first} view=${first ?? 'all'} />`
}

function List({ view }) {
  const [search, setSearch] = useState('')
  const [cursors, setCursors] = useState([]) // the ends of the pages before this one
  const cursor = cursors.at(-1)
  const live = useLive(() => load(VIEWS[view], search, cursor), [search, cursor?.id], { of: CHANGES })
  const { shown, hasMore, connections } = live.data ?? { shown: [] }
  const names = new Map(connections?.map((one) => [one.id, one.name ?? one.id]))
  return html`<div class="bar">
      <${Search} label="Search campaigns" hint="Name" onSearch=${(words) => {
        setCursors([])
        setSearch(words)
      }} />
      <a class="button primary" href="#/campaigns/new">Make a campaign</a>
    </div>
    <nav class="views" aria-label="Which campaigns">
      ${Object.entries(VIEWS).map(([key, { title }]) => html`<a key=${key} href=${`#/campaigns/${key}`} aria-current=${key === view ? 'page' : undefined}>${title}</a>`)}
    </nav>
    <${Waiting} live=${live} />
    ${live.data && !shown.length && html`<div class="card empty">${search ? 'No campaign has such a name.' : VIEWS[view].empty}</div>`}
    ${shown.length > 0 && html`<ul class="messages">${shown.map((one) => html`<li key=${one.id}><${CampaignLine} campaign=${one} via=${names.get(one.connection_id) ?? one.connection_id} /></li>`)}</ul>`}
    <${Pager} label="More campaigns" page=${cursors.length} hasMore=${hasMore} onTurn=${(to) => setCursors(turned(cursors, to, shown.at(-1)))} />`
}

export default { path: 'campaigns', title: 'Campaigns', Page: Campaigns }
