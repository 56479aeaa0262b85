// Who would get what, without sending anything: all of it in numbers, the faults by row, and each text as its recipient sees it.
import { persist, rows, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { Field, Note } from './form.js'
import { Pager } from './pager.js'
import { Waiting } from './table.js'
import { Bubble } from './template-preview.js'

const SIZE = 20 // faults on a page
const HEAD =
  'campaign_id,lines_id,revision,progress,total,will_be_sent,faults,duplicates,opted_out,waiting_reason,requested_at,finished_at'
const KINDS = {
  duplicate: 'Twice in it',
  opted_out: 'Opted out',
  missing_value: 'Without a value',
  no_number: 'Without a number',
  bad_number: 'With a number that is none',
  blocked: 'Blocked',
  excepted: 'Left out',
  gone: 'No longer there',
  too_long: 'Too long a text',
  empty: 'An empty text',
}
const wordsOf = (kind) => KINDS[kind] ?? kind.replaceAll('_', ' ')

const rehearsals = () => supabase.from('campaign_rehearsals')

// Asking again changes nothing while campaign and template are the same and the answer is fresh.
const rehearse = (campaign) =>
  persist(() => rows(() => rehearsals().upsert({ campaign_id: campaign.id }).select('campaign_id')))

// The kinds of faults that there are, with their numbers, the most first.
const faultsOf = ({ faults, duplicates, opted_out: optedOut }) =>
  Object.entries({ ...faults, duplicate: duplicates, opted_out: optedOut })
    .filter(([, number]) => number > 0)
    .sort(([, one], [, other]) => other - one)

export function Rehearsal({ campaign }) {
  const live = useLive(() => rows(() => rehearsals().select(HEAD).eq('campaign_id', campaign.id)), [campaign.id])
  const deed = useDeed()
  const [position, setPosition] = useState(1)
  const [head] = live.data ?? []
  const ask = () =>
    deed
      .run(() => rehearse(campaign))
      .then((went) => {
        if (!went) return
        setPosition(1)
        live.look()
      })
  const isStale = head && head.revision !== campaign.revision
  return html`<section class="card stack" aria-label="Rehearsal">
    <h3>Rehearsal</h3>
    <${Waiting} live=${live} />
    ${live.data && !head && html`<p class="muted">What each recipient would get, and what is wrong with whom. Nothing is sent.</p>`}
    ${isStale && html`<p class="waits">The campaign was changed since this rehearsal.</p>`}
    ${head && html`<${Head} head=${head} />`}
    <${Note} of=${deed} />
    <div class="actions"><button type="button" class=${head && !isStale ? '' : 'primary'} disabled=${deed.isBusy} onClick=${ask}>${head ? 'Rehearse again' : 'Rehearse'}</button></div>
    ${head?.progress > 0 && html`<${Viewer} key=${head.lines_id} head=${head} campaign=${campaign} position=${position} onMove=${setPosition} />`}
    ${faultsOf(head ?? {}).length > 0 && html`<${Faults} key=${head.lines_id} head=${head} onShow=${setPosition} />`}
  </section>`
}

function Head({ head }) {
  const figure = (words, number, look = '') =>
    html`<div class=${look}><dt>${words}</dt><dd>${number.toLocaleString('en')}</dd></div>`
  return html`${!head.finished_at && html`<p class="muted" role="status">${head.progress.toLocaleString('en')} recipients so far; the others are being worked out.</p>`}
    ${head.waiting_reason && html`<p class="waits">${head.waiting_reason}</p>`}
    <dl class="counts">
      ${figure('Recipients', head.total ?? head.progress)}
      ${figure('Would be sent', head.will_be_sent)}
      ${faultsOf(head).map(([kind, number]) => figure(wordsOf(kind), number, 'fault'))}
    </dl>`
}

// One recipient after the other, as each would see it.
function Viewer({ head, campaign, position, onMove }) {
  const live = useLive(
    () => rows(() => supabase.rpc('rehearse_campaign', { id: campaign.id, after: position - 1, lines: 1 })),
    [head.lines_id, position],
    { every: 10 }, // the first lines are made before their numbers are judged
  )
  const [line] = live.data ?? []
  const last = head.total ?? head.progress
  const move = (to) => onMove(Math.min(Math.max(to, 1), last))
  return html`<div class="viewer" role="group" aria-label="One recipient">
    <div class="card-head">
      <p aria-live="polite"><b>Recipient ${position.toLocaleString('en')} of ${last.toLocaleString('en')}</b>${line && html`: <bdi>${line.name || 'No name'}</bdi> <bdi class="muted">${line.address}</bdi>`}</p>
      <span class="actions">
        <button type="button" class="plain" disabled=${position <= 1} onClick=${() => move(position - 1)}>Previous</button>
        <button type="button" class="plain" disabled=${position >= last} onClick=${() => move(position + 1)}>Next</button>
      </span>
    </div>
    <${Waiting} live=${live} />
    ${line?.fault ? html`<p class="fault">${line.fault}</p>` : line && html`<${Bubble} text=${line.text} type="text" />`}
    ${line?.local_time && html`<p class="muted small">At ${line.local_time.slice(0, 16).replace('T', ' ')} where the recipient is</p>`}
    ${line && !line.is_checked && html`<p class="muted small">Its number is still to be checked.</p>`}
  </div>`
}

async function loadFaults(head, kind, page) {
  const found = await rows(() => {
    const all = supabase
      .from('campaign_rehearsal_lines')
      .select('position,name,address,fault,fault_kind')
      .eq('lines_id', head.lines_id)
      .not('fault', 'is', null)
    return (kind ? all.eq('fault_kind', kind) : all).order('position').range(page * SIZE, (page + 1) * SIZE)
  })
  return { shown: found.slice(0, SIZE), hasMore: found.length > SIZE }
}

function Faults({ head, onShow }) {
  const [kind, setKind] = useState('')
  const [page, setPage] = useState(0)
  const live = useLive(() => loadFaults(head, kind, page), [head.lines_id, kind, page], { every: 5 })
  const { shown, hasMore } = live.data ?? { shown: [] }
  const choose = (event) => {
    setPage(0)
    setKind(event.target.value)
  }
  return html`<div class="stack">
    <${Field} label="Faults by row">
      <select value=${kind} onInput=${choose}>
        <option value="">All of them</option>
        ${faultsOf(head).map(([name, number]) => html`<option value=${name}>${wordsOf(name)}: ${number.toLocaleString('en')}</option>`)}
      </select>
    <//>
    <${Waiting} live=${live} />
    <ul class="rows" aria-label="Rows at fault">
      ${shown.map((line) => html`<li key=${line.position}><button type="button" class="link" aria-label=${`Show recipient ${line.position}`} onClick=${() => onShow(line.position)}>#${line.position}</button> <b><bdi>${line.name || line.address || 'No name'}</bdi></b> <span class="fault">${line.fault}</span></li>`)}
    </ul>
    <${Pager} label="More faults" page=${page} hasMore=${hasMore} onTurn=${setPage} />
  </div>`
}
