// One campaign: what it says, to whom and when; its rehearsal before it goes out, its runs after.
import { rows, rowsOf, supabase, useDeed, useLive } from '../client.js'
import { html } from '../html.js'
import { audienceWords } from './audience.js'
import { CountsInWords, Time } from './campaign-line.js'
import {
  approve,
  CHANGES,
  campaigns,
  isOver,
  isUnderWay,
  State,
  setStatus,
  stateOf,
  waitsForApproval,
  withRuns,
} from './campaigns.js'
import { Estimate } from './estimate.js'
import { Confirm, Note } from './form.js'
import { removeRow } from './records.js'
import { Rehearsal } from './rehearsal.js'
import { Run } from './run.js'
import { Recipients } from './run-recipients.js'
import { Test } from './send-test.js'
import { Waiting } from './table.js'
import { Bubble } from './template-preview.js'
import { When } from './time.js'

const LATEST = 20 // runs that are shown

const load = (id) => rowsOf(() => withRuns(LATEST + 1).eq('id', id))

export function CampaignView({ id }) {
  const live = useLive(() => load(id), [id], { every: 1, of: CHANGES })
  if (!live.data) return html`<${Waiting} live=${live} />`
  const [campaign] = live.data
  if (!campaign) return html`<p class="fault" role="alert">There is no such campaign.</p>`
  const [latest, ...others] = campaign.runs
  const isToCome = !isOver(campaign) && !isUnderWay(latest)
  // Such a run stands below, in another place than one that is under way: under the same key, so that what it has said to a
  // press of its buttons stays when it moves.
  const isLatestOver = latest && !isUnderWay(latest)
  return html`<div class="card-head">
      <h2 dir="auto">${campaign.name}</h2>
      <${State} status=${stateOf(campaign, latest)} />
    </div>
    <p class="head-line"><${Time} campaign=${campaign} run=${latest} /></p>
    ${campaign.status_reason && html`<p class="waits">${campaign.status_reason}</p>`}
    <${Deeds} campaign=${campaign} isUnderWay=${isUnderWay(latest)} onChange=${live.look} />
    ${isUnderWay(latest) && html`<${Run} key=${latest.id} run=${latest} campaign=${campaign} onChange=${live.look} />`}
    <${Content} campaign=${campaign} />
    ${isToCome && html`<${Estimate} campaign=${campaign} />`}
    ${isToCome && html`<${Rehearsal} key=${campaign.revision} campaign=${campaign} />`}
    ${isToCome && html`<${Test} campaign=${campaign} />`}
    ${isLatestOver && html`<h2>${others.length ? 'Latest run' : 'Run'}</h2>`}
    ${isLatestOver && html`<${Run} key=${latest.id} run=${latest} campaign=${campaign} onChange=${live.look} />`}
    ${others.length > 0 && html`<h2>Runs before</h2><${Runs} runs=${others.slice(0, LATEST - 1)} campaign=${campaign} />`}
    ${others.length === LATEST && html`<p class="muted">The latest ${LATEST} runs.</p>`}`
}

const Runs = ({ runs, campaign }) =>
  html`<ul class="messages">
    ${runs.map(
      (run) =>
        html`<li key=${run.id}><article class="message">
          <div class="message-head"><${State} status=${run.status} /><a href=${`#/campaigns/${campaign.id}/run/${run.id}`}><${When} at=${run.occurrence_at} zone=${campaign.timezone ?? undefined} /></a></div>
          <div class="message-body"><${CountsInWords} run=${run} />${run.status_reason && html`<p class="waits">${run.status_reason}</p>`}</div>
        </article></li>`,
    )}
  </ul>`

const DONE = { scheduled: 'Scheduled.', paused: 'Paused.', cancelled: 'Cancelled.' }

function Deeds({ campaign, isUnderWay, onChange }) {
  const deed = useDeed()
  const { status } = campaign
  const set = (to) =>
    deed
      .run(async () => setStatus(campaign, to), DONE[to])
      .then((went) => {
        if (went) onChange()
      })
  const letGo = () =>
    deed
      .run(() => approve(campaign), 'Approved.')
      .then((went) => {
        if (went) onChange()
      })
  const remove = () =>
    deed
      .run(() => removeRow('campaigns', campaign))
      .then((went) => {
        if (went) location.hash = '#/campaigns'
      })
  const button = (to, words, look = '') =>
    html`<button type="button" class=${look} disabled=${deed.isBusy} onClick=${() => set(to)}>${words}</button>`
  return html`<div class="deeds"><div class="actions">
      ${status === 'draft' && button('scheduled', 'Activate', 'primary')}
      ${status === 'paused' && button('scheduled', 'Resume', 'primary')}
      ${waitsForApproval(campaign) && html`<button type="button" class="primary" disabled=${deed.isBusy} onClick=${letGo}>Approve</button>`}
      ${status === 'scheduled' && button('paused', 'Pause')}
      ${!isOver(campaign) && !isUnderWay && html`<a class="button" href=${`#/campaigns/${campaign.id}/edit`}>Edit</a>`}
      ${['scheduled', 'paused'].includes(status) && html`<${Confirm} label="Cancel" question="Cancel this campaign for good?" yes="Yes, cancel" isBusy=${deed.isBusy} onYes=${() => set('cancelled')} />`}
      ${!isUnderWay && html`<${Confirm} label="Delete" question="Delete this campaign and its runs?" yes="Yes, delete" isBusy=${deed.isBusy} onYes=${remove} />`}
    </div>
    <${Note} of=${deed} /></div>`
}

async function loadContent({ id, template_id }) {
  const [[{ audience } = {}], [template]] = await Promise.all([
    rows(() => campaigns().select('audience').eq('id', id)),
    template_id
      ? rows(() => supabase.from('message_templates').select('name,body,type,media_url,language').eq('id', template_id))
      : [],
  ])
  return { audience: audience ?? {}, template }
}

// What does not change while one looks, but by an edit: so it is asked for once for each revision.
function Content({ campaign }) {
  const live = useLive(() => loadContent(campaign), [campaign.id, campaign.revision], { every: null })
  if (!live.data) return html`<${Waiting} live=${live} />`
  const { audience, template } = live.data
  const text = template ? template.body : campaign.type === 'text' ? campaign.message : campaign.caption
  const shared = Object.entries(campaign.variables)
  return html`<section class="card" aria-label="What, and to whom">
    <${Bubble} text=${text} type=${template?.type ?? campaign.type} media_url=${template ? template.media_url : campaign.media_url} language=${template?.language} />
    <dl class="facts">
      ${template && html`<dt>Template</dt><dd><a href=${`#/templates/${campaign.template_id}/edit`}><bdi>${template.name}</bdi></a></dd>`}
      <dt>To</dt>
      <dd><bdi>${audienceWords(audience)}</bdi>${campaign.max_recipients && html`<small class="muted">At most ${campaign.max_recipients.toLocaleString('en')}</small>`}</dd>
      ${shared.length > 0 && html`<dt>Fields</dt><dd>${shared.map(([name, value]) => html`<div><span class="muted">{${name}}</span> <bdi>${String(value)}</bdi></div>`)}</dd>`}
      ${campaign.recurrence_end_at && html`<dt>Until</dt><dd><${When} at=${campaign.recurrence_end_at} zone=${campaign.timezone ?? undefined} /></dd>`}
      ${campaign.zone_of === 'recipient' && html`<dt>Clock</dt><dd>Each recipient's own zone</dd>`}
      ${campaign.at_daily_limit === 'fail' && html`<dt>Daily limit</dt><dd>Where it would be exceeded the campaign fails</dd>`}
    </dl>
  </section>`
}

// #/campaigns/<id>/run/<run>/<view>
export function RunView({ run: runId, view }) {
  const live = useLive(
    () =>
      rowsOf(() =>
        supabase.from('campaign_runs').select(`*,campaign:campaigns(id,name,timezone,status)`).eq('id', runId),
      ),
    [runId],
    { every: 1, of: CHANGES },
  )
  const [run] = live.data ?? []
  const id = run?.campaign_id
  const back = html`<p class="back"><a href="#/campaigns">All campaigns</a>${run && html` › <a href=${`#/campaigns/${id}`}><bdi>${run.campaign.name}</bdi></a>`}</p>`
  if (!live.data) return html`${back}<${Waiting} live=${live} />`
  if (!run) return html`${back}<p class="fault" role="alert">There is no such run.</p>`
  return html`${back}
    <${Run} run=${run} campaign=${run.campaign} isAlone onChange=${live.look} />
    <h2>Recipients</h2>
    <${Recipients} run=${run} view=${view} hrefOf=${(key) => `#/campaigns/${id}/run/${runId}/${key}`} onChange=${live.look} />`
}
